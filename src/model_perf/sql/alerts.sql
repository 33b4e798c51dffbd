-- Alerts: one open alert per fingerprint, repeats are counted, severity rises and never falls.

-- name: columns
a.id, a.alert_type, a.severity, a.model_type, a.machine_id, a.model_id, a.model_version, a.fingerprint,
a.alert_message, a.alert_timestamp, a.last_seen_at, a.occurrences, a.alert_details::text AS alert_details,
a.current_metric_value, a.threshold_value, a.baseline_metric_value, a.is_resolved, a.resolved_timestamp,
a.resolution, a.resolved_by, a.resolution_notes, a.acknowledged_at, a.acknowledged_by, a.snoozed_until,
a.auto_action_taken, a.auto_action::text AS auto_action, a.metadata::text AS metadata

-- name: open_or_repeat
-- $1 id, $2 alert_type, $3 severity, $4 model_type, $5 machine_id, $6 model_id, $7 model_version, $8 fingerprint,
-- $9 alert_message, $10 now, $11 alert_details, $12 current_metric_value, $13 threshold_value,
-- $14 baseline_metric_value, $15 metadata
INSERT INTO {schema}.model_alerts AS a
    (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
     alert_timestamp, last_seen_at, alert_details, current_metric_value, threshold_value, baseline_metric_value,
     metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11::text::jsonb, $12, $13, $14, $15::text::jsonb)
ON CONFLICT (fingerprint) WHERE NOT is_resolved DO UPDATE
SET occurrences = a.occurrences + 1,
    last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at),
    severity = CASE WHEN excluded.severity_rank > a.severity_rank THEN excluded.severity ELSE a.severity END,
    alert_message = excluded.alert_message,
    alert_details = excluded.alert_details,
    current_metric_value = excluded.current_metric_value,
    threshold_value = excluded.threshold_value,
    baseline_metric_value = excluded.baseline_metric_value
RETURNING {columns}

-- name: acknowledge
-- $1 id, $2 by, $3 now
UPDATE {schema}.model_alerts a
SET acknowledged_at = $3, acknowledged_by = $2
WHERE a.id = $1 AND NOT a.is_resolved AND a.acknowledged_at IS NULL
RETURNING {columns}

-- name: resolve
-- $1 id, $2 resolution, $3 by, $4 notes, $5 now
UPDATE {schema}.model_alerts a
SET is_resolved = true, resolved_timestamp = $5, resolution = $2, resolved_by = $3, resolution_notes = $4
WHERE a.id = $1 AND NOT a.is_resolved
RETURNING {columns}

-- name: fetch
-- $1 id
SELECT {columns} FROM {schema}.model_alerts a WHERE a.id = $1

-- name: list_slot
-- $1 machine_id, $2 model_type, $3 since, $4 limit: the alerts of a slot that are open, or were opened since, newest first
SELECT {columns} FROM {schema}.model_alerts a
WHERE a.machine_id = $1 AND a.model_type = $2 AND (a.alert_timestamp >= $3 OR NOT a.is_resolved)
ORDER BY a.alert_timestamp DESC, a.id DESC
LIMIT $4

-- name: list_resolved
-- $1 since, $2 limit: the alerts that were closed since, the last closed one first
SELECT {columns} FROM {schema}.model_alerts a
WHERE a.is_resolved AND a.resolved_timestamp >= $1
-- filters
ORDER BY a.resolved_timestamp DESC, a.id DESC
LIMIT $2

-- name: list_active
-- $1, $2, $3 severity_rank, alert_timestamp and id before which the page starts (worst and newest first), $4 limit
SELECT {columns} FROM {schema}.model_alerts a
WHERE NOT a.is_resolved AND (a.severity_rank, a.alert_timestamp, a.id) < ($1, $2, $3)
-- filters
ORDER BY a.severity_rank DESC, a.alert_timestamp DESC, a.id DESC
LIMIT $4
