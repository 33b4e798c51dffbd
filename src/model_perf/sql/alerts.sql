-- Alerts: one open alert per fingerprint, repeats are counted, severity rises and never falls.

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
{count_repeat}
RETURNING {alert_columns}

-- name: acknowledge
-- $1 id, $2 by, $3 notes, $4 now
UPDATE {schema}.model_alerts a
SET acknowledged_at = $4, acknowledged_by = $2, acknowledgement_notes = $3
WHERE a.id = $1 AND NOT a.is_resolved AND a.acknowledged_at IS NULL
RETURNING {alert_columns}

-- name: snooze
-- $1 id, $2 until, $3 by, $4 notes, $5 now; a later one replaces the one before
UPDATE {schema}.model_alerts a
SET snoozed_until = $2, snoozed_at = $5, snoozed_by = $3, snooze_notes = $4
WHERE a.id = $1 AND NOT a.is_resolved
RETURNING {alert_columns}

-- name: resolve
-- $1 id, $2 resolution, $3 by, $4 notes, $5 now
UPDATE {schema}.model_alerts a
SET is_resolved = true, resolved_timestamp = $5, resolution = $2, resolved_by = $3, resolution_notes = $4
WHERE a.id = $1 AND NOT a.is_resolved
RETURNING {alert_columns}

-- name: recover
-- $1 fingerprint, $2 notes, $3 now: the open alert of a condition that is over, if there is one
UPDATE {schema}.model_alerts a
SET is_resolved = true, resolved_timestamp = $3, resolution = 'recovered', resolved_by = 'model_perf',
    resolution_notes = $2
WHERE a.fingerprint = $1 AND NOT a.is_resolved
RETURNING {alert_columns}

-- name: note_act
-- $1 id, $2 what was done, which joins what was done before, $3 now
UPDATE {schema}.model_alerts a
SET auto_action = a.auto_action || $2::text::jsonb || jsonb_build_object('acted_at', $3::timestamptz),
    auto_action_taken = true
WHERE a.id = $1
RETURNING {alert_columns}

-- name: fetch
-- $1 id
SELECT {alert_columns} FROM {schema}.model_alerts a WHERE a.id = $1

-- name: list_slot
-- $1 machine_id, $2 model_type, $3 since, $4 limit: the alerts of a slot that are open, then those that were opened since,
-- newest first
SELECT {alert_columns} FROM {schema}.model_alerts a
WHERE a.machine_id = $1 AND a.model_type = $2 AND (a.alert_timestamp >= $3 OR NOT a.is_resolved)
ORDER BY a.is_resolved, a.alert_timestamp DESC, a.id DESC
LIMIT $4

-- name: list_resolved
-- $1 since, $2 limit: the alerts that were closed since, the last closed one first
SELECT {alert_columns} FROM {schema}.model_alerts a
WHERE a.is_resolved AND a.resolved_timestamp >= $1
-- filters
ORDER BY a.resolved_timestamp DESC, a.id DESC
LIMIT $2

-- name: list_active
-- $1, $2, $3 severity_rank, alert_timestamp and id before which the page starts (worst and newest first), $4 limit
SELECT {alert_columns} FROM {schema}.model_alerts a
WHERE NOT a.is_resolved AND (a.severity_rank, a.alert_timestamp, a.id) < ($1, $2, $3)
-- filters
ORDER BY a.severity_rank DESC, a.alert_timestamp DESC, a.id DESC
LIMIT $4

-- name: list_awake
-- $1, $2, $3 severity_rank, alert_timestamp and id before which the page starts (worst and newest first), $4 limit,
-- $5 now: the open alerts that nobody has snoozed
SELECT {alert_columns} FROM {schema}.model_alerts a
WHERE NOT a.is_resolved AND (a.severity_rank, a.alert_timestamp, a.id) < ($1, $2, $3)
    AND coalesce(a.snoozed_until <= $5, true)
-- filters
ORDER BY a.severity_rank DESC, a.alert_timestamp DESC, a.id DESC
LIMIT $4

-- name: list_alerts
-- $1 and $2 alert_timestamp and id before which the page starts (newest first), $3 since, $4 limit
SELECT {alert_columns} FROM {schema}.model_alerts a
WHERE (a.alert_timestamp, a.id) < ($1, $2) AND a.alert_timestamp >= $3
-- filters
ORDER BY a.alert_timestamp DESC, a.id DESC
LIMIT $4

-- name: list_events
-- $1 alert_id
SELECT v.id, v.alert_id, v.event, v.occurred_at, v.severity, v.actor, v.notes, v.details::text AS details
FROM {schema}.model_alert_events v
WHERE v.alert_id = $1
ORDER BY v.id

-- name: count_false_positives
-- $1 since: of the alerts that were resolved from then on
SELECT a.alert_type, count(*) AS n_resolved, count(*) FILTER (WHERE a.resolution = 'false_positive') AS n_false_positives
FROM {schema}.model_alerts a
WHERE a.is_resolved AND a.resolved_timestamp >= $1
GROUP BY a.alert_type
ORDER BY a.alert_type

-- name: act
-- $1 alert id, $2 now, $3 the training run that the policy wishes for: decided, opened, and written on the alert
WITH wish AS (
    SELECT o.machine_id, o.model_type, o.model_id, o.model_version, n.wish,
        {schema}.model_automation_decide(o.machine_id, o.model_type, $2, n.wish) AS action
    FROM {schema}.model_alerts o CROSS JOIN (VALUES ($3::text::jsonb)) AS n (wish)
    WHERE o.id = $1
), run AS (
    INSERT INTO {schema}.model_training_history AS r
        (id, model_type, machine_id, model_id, model_version, training_status, trigger_type, triggered_by, reason,
         max_attempts, run_after, created_at, alert_id)
    SELECT (w.wish ->> 'id')::uuid, w.model_type, w.machine_id, w.model_id, w.model_version, 'pending',
        w.wish ->> 'trigger_type', 'policy', w.wish ->> 'reason', (w.wish ->> 'max_attempts')::integer, $2, $2, $1
    FROM wish w
    WHERE w.action ->> 'outcome' = 'requested'
    ON CONFLICT (machine_id, model_type) WHERE training_status IN ('pending', 'running') DO UPDATE
    SET id = r.id
    RETURNING r.id
), act AS (
    SELECT CASE WHEN run.id <> (w.wish ->> 'id')::uuid
        THEN w.action || jsonb_build_object(
            'outcome', 'skipped', 'reason', 'skipped: a run is open already', 'run_id', run.id)
        ELSE w.action END AS action
    FROM wish w LEFT JOIN run ON true
)
UPDATE {schema}.model_alerts a
SET auto_action = act.action, auto_action_taken = a.auto_action_taken OR act.action ->> 'outcome' = 'requested'
FROM act
WHERE a.id = $1
RETURNING {alert_columns}
