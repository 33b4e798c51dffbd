-- Blocks that several files put into their queries, by name.

-- name: alert_columns
a.id, a.alert_type, a.severity, a.model_type, a.machine_id, a.model_id, a.model_version, a.fingerprint,
a.alert_message, a.alert_timestamp, a.last_seen_at, a.occurrences, a.alert_details::text AS alert_details,
a.current_metric_value, a.threshold_value, a.baseline_metric_value, a.is_resolved, a.resolved_timestamp,
a.resolution, a.resolved_by, a.resolution_notes, a.acknowledged_at, a.acknowledged_by, a.acknowledgement_notes,
a.snoozed_until, a.snoozed_at, a.snoozed_by, a.snooze_notes, a.auto_action_taken, a.auto_action::text AS auto_action,
a.metadata::text AS metadata

-- name: count_repeat
-- of an open alert that occurs once more: it takes over what is new, and its severity never falls; a rise wakes it up
SET occurrences = a.occurrences + 1,
    last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at),
    severity = CASE WHEN excluded.severity_rank > a.severity_rank THEN excluded.severity ELSE a.severity END,
    snoozed_until = CASE WHEN excluded.severity_rank > a.severity_rank THEN NULL ELSE a.snoozed_until END,
    alert_message = excluded.alert_message,
    alert_details = excluded.alert_details,
    current_metric_value = excluded.current_metric_value,
    threshold_value = excluded.threshold_value,
    baseline_metric_value = excluded.baseline_metric_value,
    auto_action = CASE WHEN excluded.auto_action = jsonb_build_object() THEN a.auto_action ELSE excluded.auto_action END,
    auto_action_taken = a.auto_action_taken OR excluded.auto_action_taken
