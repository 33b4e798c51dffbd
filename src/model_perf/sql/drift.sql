-- References of data, and what windows of data were found to be against them.

-- name: report_columns
d.model_id, d.model_version, d.machine_id, d.segment, d.id, d.model_type, d.reference_id, d.window_start, d.window_end,
d.alarm_value, d.alarm_limit, d.report::text AS report, d.created_by, d.created_at

-- name: set_reference
-- $1 model_id, $2 model_version, $3 machine_id, $4 model_type, $5 segment, $6 id, $7 profile, $8 n_rows, $9 n_columns,
-- $10 created_by, $11 now, $12 detector; what windows added up to against another reference is forgotten
WITH mdl AS (
    INSERT INTO {schema}.models (model_id, model_version, machine_id, model_type, first_seen_at)
    SELECT $1, $2, $3, $4, $11
    WHERE NOT EXISTS (
        SELECT FROM {schema}.models m WHERE m.model_id = $1 AND m.model_version = $2 AND m.machine_id = $3)
    ON CONFLICT (model_id, model_version, machine_id) DO NOTHING
), alarm AS (
    INSERT INTO {schema}.model_drift_state AS s
        (model_id, model_version, machine_id, detector, version, state, updated_at)
    VALUES ($1, $2, $3, $12, 1, jsonb_build_object(), $11)
    ON CONFLICT (model_id, model_version, machine_id, detector) DO UPDATE
    SET version = s.version + 1, state = excluded.state, updated_at = excluded.updated_at
)
INSERT INTO {schema}.model_reference_profiles AS r
    (model_id, model_version, machine_id, segment, id, model_type, profile, n_rows, n_columns, created_by, created_at)
VALUES ($1, $2, $3, $5, $6, $4, $7, $8, $9, $10, $11)
ON CONFLICT (model_id, model_version, machine_id, segment) DO UPDATE
SET id = excluded.id, profile = excluded.profile, n_rows = excluded.n_rows, n_columns = excluded.n_columns,
    created_by = excluded.created_by, created_at = excluded.created_at
RETURNING r.id

-- name: fetch_reference
-- $1 model_id, $2 model_version, $3 machine_id, $4 segment
SELECT r.id, r.model_type, r.profile FROM {schema}.model_reference_profiles r
WHERE r.model_id = $1 AND r.model_version = $2 AND r.machine_id = $3 AND r.segment = $4

-- name: fetch_alarm
-- $1 model_id, $2 model_version, $3 machine_id, $4 segment, $5 detector, $6 fingerprint; one row where there is a
-- reference
SELECT r.id AS reference_id, s.version, s.state::text AS state,
    EXISTS (SELECT FROM {schema}.model_alerts a WHERE a.fingerprint = $6 AND NOT a.is_resolved) AS is_alerted
FROM {schema}.model_reference_profiles r
JOIN {schema}.model_drift_state s
    ON s.model_id = r.model_id AND s.model_version = r.model_version AND s.machine_id = r.machine_id AND s.detector = $5
WHERE r.model_id = $1 AND r.model_version = $2 AND r.machine_id = $3 AND r.segment = $4

-- name: write_report
WITH old AS (
    SELECT d.id FROM {schema}.model_drift_reports d
    WHERE d.model_id = $1 AND d.model_version = $2 AND d.machine_id = $3 AND d.segment = $4 AND d.id = $5
), cas AS (
    UPDATE {schema}.model_drift_state s
    SET version = s.version + 1, state = $24::text::jsonb, updated_at = $21
    WHERE s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = $22 AND s.version = $23
        AND NOT EXISTS (SELECT FROM old)
    RETURNING s.version
), ins AS (
    INSERT INTO {schema}.model_drift_reports
        (model_id, model_version, machine_id, segment, id, model_type, reference_id, window_start, window_end, verdict,
         drift_detected, pvalue, n_reference, n_current, n_columns, n_drifted, alarm_value, alarm_limit, report,
         created_by, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19::text::jsonb, $20, $21
    FROM cas
    RETURNING id
)

-- name: record_report
-- $1 model_id, $2 model_version, $3 machine_id, $4 segment, $5 id, $6 model_type, $7 reference_id, $8 window_start,
-- $9 window_end, $10 verdict, $11 drift_detected, $12 pvalue, $13 n_reference, $14 n_current, $15 n_columns,
-- $16 n_drifted, $17 alarm_value, $18 alarm_limit, $19 report, $20 created_by, $21 now, $22 detector,
-- $23 version of the alarm that was read, $24 new state, $25 alerts (an array of objects, usually empty), $26 the training
-- run that the policy wishes for, if it does (an object)
-- One row: is_there = a report of that id was there; inserted = this call wrote it. Neither: another writer came first.
{write_report}, wish AS (
    -- As after an evaluation.
    SELECT n.wish, coalesce(o.id, ($25::text::jsonb -> 0 ->> 'id')::uuid) AS alert_id,
        {schema}.model_automation_decide($3, $6, $21, n.wish) AS action
    FROM ins JOIN (VALUES ($26::text::jsonb)) AS n (wish) ON n.wish IS NOT NULL
    LEFT JOIN {schema}.model_alerts o ON o.fingerprint = n.wish ->> 'fingerprint' AND NOT o.is_resolved
    WHERE (o.auto_action ->> 'retry_at')::timestamptz <= $21
        OR (o.auto_action = jsonb_build_object() AND o.severity_rank < (n.wish ->> 'severity_rank')::integer)
        OR o.id IS NULL
), run AS (
    INSERT INTO {schema}.model_training_history AS r
        (id, model_type, machine_id, model_id, model_version, training_status, trigger_type, triggered_by, reason,
         max_attempts, run_after, created_at, alert_id)
    SELECT (w.wish ->> 'id')::uuid, $6, $3, $1, $2, 'pending', w.wish ->> 'trigger_type', 'policy',
        w.wish ->> 'reason', (w.wish ->> 'max_attempts')::integer, $21, $21, w.alert_id
    FROM wish w
    WHERE w.action ->> 'outcome' = 'requested'
    ON CONFLICT (machine_id, model_type) WHERE training_status IN ('pending', 'running') DO UPDATE
    SET id = r.id
    RETURNING r.*
), act AS (
    SELECT CASE WHEN run.id <> (w.wish ->> 'id')::uuid
        THEN w.action || jsonb_build_object(
            'outcome', 'skipped', 'reason', 'skipped: a run is open already', 'run_id', run.id)
        ELSE w.action END AS action
    FROM wish w LEFT JOIN run ON true
), alert AS (
    INSERT INTO {schema}.model_alerts AS a
        (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
         alert_timestamp, last_seen_at, alert_details, current_metric_value, threshold_value, auto_action,
         auto_action_taken)
    SELECT n.id, n.alert_type, n.severity, $6, $3, $1, $2, n.fingerprint, n.alert_message, $21, $21, n.alert_details,
        $17, $18, coalesce(act.action, jsonb_build_object()), coalesce(act.action ->> 'outcome' = 'requested', false)
    FROM ins CROSS JOIN jsonb_to_recordset($25::text::jsonb) AS n (
        id uuid, alert_type text, severity text, fingerprint text, alert_message text, alert_details jsonb)
    LEFT JOIN act ON true
    ON CONFLICT (fingerprint) WHERE NOT is_resolved DO UPDATE
    {count_repeat}
    RETURNING a.id
)
SELECT EXISTS (SELECT FROM old) AS is_there, EXISTS (SELECT FROM ins) AS inserted, (SELECT id FROM alert) AS alert_id

-- name: record_report_with_recovery
-- $1 to $24 as in record_report, $25 fingerprint of the alert that is over, if it is open, $26 why
{write_report}, over AS (
    UPDATE {schema}.model_alerts a
    SET is_resolved = true, resolved_timestamp = $21, resolution = 'recovered', resolved_by = 'model_perf',
        resolution_notes = $26
    FROM ins
    WHERE a.fingerprint = $25 AND NOT a.is_resolved
    RETURNING a.id
)
SELECT EXISTS (SELECT FROM old) AS is_there, EXISTS (SELECT FROM ins) AS inserted, (SELECT id FROM over) AS alert_id

-- name: lock_state
-- $1 model_id, $2 model_version, $3 machine_id, $4 detector; the writers of one alarm or stream wait for each other
SELECT s.version FROM {schema}.model_drift_state s
WHERE s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = $4
FOR UPDATE

-- name: restart_alarm
-- $1 model_id, $2 model_version, $3 machine_id, $4 detector, $5 now; the end of the last window is kept
UPDATE {schema}.model_drift_state s
SET version = s.version + 1, updated_at = $5,
    state = CASE WHEN s.state ? 'value'
        THEN jsonb_set(s.state || jsonb_build_object('value', 0, 'n', 0), ARRAY['recovery', '0'], 'null', false)
        ELSE s.state END
WHERE s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = $4

-- name: fetch_stream
-- $1 model_id, $2 model_version, $3 machine_id, $4 detector
SELECT s.version, s.state::text AS state FROM {schema}.model_drift_state s
WHERE s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = $4

-- name: save_stream
-- $1 model_id, $2 model_version, $3 machine_id, $4 model_type, $5 detector, $6 version that was read (0: none was there),
-- $7 new state, $8 now; no row: another writer came first
WITH mdl AS (
    INSERT INTO {schema}.models (model_id, model_version, machine_id, model_type, first_seen_at)
    SELECT $1, $2, $3, $4, $8
    WHERE NOT EXISTS (
        SELECT FROM {schema}.models m WHERE m.model_id = $1 AND m.model_version = $2 AND m.machine_id = $3)
    ON CONFLICT (model_id, model_version, machine_id) DO NOTHING
)
INSERT INTO {schema}.model_drift_state AS s
    (model_id, model_version, machine_id, detector, version, state, updated_at)
VALUES ($1, $2, $3, $5, 1, $7::text::jsonb, $8)
ON CONFLICT (model_id, model_version, machine_id, detector) DO UPDATE
SET version = s.version + 1, state = excluded.state, updated_at = excluded.updated_at
WHERE s.version = $6
RETURNING s.version

-- name: fetch_report
-- $1 model_id, $2 model_version, $3 machine_id, $4 segment, $5 id
SELECT {report_columns} FROM {schema}.model_drift_reports d
WHERE d.model_id = $1 AND d.model_version = $2 AND d.machine_id = $3 AND d.segment = $4 AND d.id = $5

-- name: fetch_newest_report
-- $1 model_id, $2 model_version, $3 machine_id, $4 segment
SELECT {report_columns} FROM {schema}.model_drift_reports d
WHERE d.model_id = $1 AND d.model_version = $2 AND d.machine_id = $3 AND d.segment = $4
ORDER BY d.window_end DESC, d.created_at DESC
LIMIT 1

-- name: list_reports
-- $1 model_id, $2 model_version, $3 machine_id, $4 segment, $5 since, $6 until, $7 and $8 window_end and id before which
-- the page starts (newest first), $9 limit
SELECT {report_columns} FROM {schema}.model_drift_reports d
WHERE d.model_id = $1 AND d.model_version = $2 AND d.machine_id = $3 AND d.segment = $4
    AND d.window_end >= $5 AND d.window_end < $6 AND (d.window_end, d.id) < ($7, $8)
ORDER BY d.window_end DESC, d.id DESC
LIMIT $9

-- name: list_alarm
-- $1 machine_id, $2 model_type, $3 since, $4 limit: the windows of a slot without their reports, over all versions and
-- the data as a whole, newest first
SELECT d.model_id, d.model_version, d.machine_id, d.model_type, d.segment, d.id, d.reference_id, d.window_start,
    d.window_end, d.verdict, d.n_columns, d.n_drifted, d.alarm_value, d.alarm_limit
FROM {schema}.models m
CROSS JOIN LATERAL (
    SELECT r.* FROM {schema}.model_drift_reports r
    WHERE r.model_id = m.model_id AND r.model_version = m.model_version AND r.machine_id = m.machine_id
        AND r.segment = '' AND r.window_end >= $3
    ORDER BY r.window_end DESC, r.created_at DESC
    LIMIT $4
) d
WHERE m.machine_id = $1 AND m.model_type = $2
ORDER BY d.window_end DESC, d.created_at DESC
LIMIT $4
