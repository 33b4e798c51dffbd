-- Evaluations, the deployments they belong to, and the state of the charts that judge them.

-- name: columns
e.model_id, e.model_version, e.machine_id, e.evaluation_date, e.id, e.model_type, e.evaluation_start,
e.evaluation_end, e.sample_count, e.data_completeness, e.r_squared, e.rmse, e.mae, e.mape, e.precision,
e.recall, e.f1_score, e.metrics::text AS metrics, e.drift_detected, e.drift_score, e.drift_threshold,
e.drift_details::text AS drift_details, e.verdict, e.created_by, e.created_at, e.metadata::text AS metadata

-- name: point
e.model_id, e.model_version, e.evaluation_date, e.evaluation_start, e.evaluation_end, e.id, e.created_at,
e.sample_count, e.data_completeness, e.verdict, e.drift_score, e.r_squared, e.rmse, e.mae, e.mape, e.precision,
e.recall, e.f1_score, e.metrics::text AS metrics

-- name: deployment
m.model_id, m.model_version, m.machine_id, m.model_type, m.machine_name, m.version_label, m.training_data_end,
m.first_seen_at

-- name: fetch_state
-- $1 model_id, $2 model_version, $3 machine_id; one row always
SELECT m.model_type, m.training_data_end, s.version, s.state::text AS state
FROM (VALUES (true)) AS always (here)
LEFT JOIN {schema}.models m
    ON m.model_id = $1 AND m.model_version = $2 AND m.machine_id = $3
LEFT JOIN {schema}.model_drift_state s
    ON s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = 'performance'

-- name: ensure_state
-- $1 model_id, $2 model_version, $3 machine_id, $4 now; a row to lock, of no version yet, where there are evaluations
INSERT INTO {schema}.model_drift_state AS s
    (model_id, model_version, machine_id, detector, version, state, updated_at)
SELECT $1, $2, $3, 'performance', 0, jsonb_build_object(), $4
WHERE EXISTS (
    SELECT FROM {schema}.model_performance_metrics e
    WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3)
ON CONFLICT (model_id, model_version, machine_id, detector) DO NOTHING

-- name: lock_state
-- $1 model_id, $2 model_version, $3 machine_id; the writers of one deployment wait for each other
SELECT s.version FROM {schema}.model_drift_state s
WHERE s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = 'performance'
FOR UPDATE

-- name: is_alerted
-- $1 fingerprint
SELECT EXISTS (SELECT FROM {schema}.model_alerts a WHERE a.fingerprint = $1 AND NOT a.is_resolved)

-- name: write_evaluation
WITH old AS (
    SELECT e.model_type = $6 AND e.evaluation_start = $7 AND e.evaluation_end = $8
        AND e.sample_count IS NOT DISTINCT FROM $9 AND e.data_completeness IS NOT DISTINCT FROM $10
        AND e.r_squared IS NOT DISTINCT FROM $11 AND e.rmse IS NOT DISTINCT FROM $12
        AND e.mae IS NOT DISTINCT FROM $13 AND e.mape IS NOT DISTINCT FROM $14
        AND e.precision IS NOT DISTINCT FROM $15 AND e.recall IS NOT DISTINCT FROM $16
        AND e.f1_score IS NOT DISTINCT FROM $17 AND e.metrics = $18::text::jsonb AS same
    FROM {schema}.model_performance_metrics e
    WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3 AND e.evaluation_date = $4 AND e.id = $5
), cas AS (
    INSERT INTO {schema}.model_drift_state AS s
        (model_id, model_version, machine_id, detector, version, state, updated_at)
    SELECT $1, $2, $3, 'performance', 1, $28::text::jsonb, $25
    WHERE NOT EXISTS (SELECT FROM old)
    ON CONFLICT (model_id, model_version, machine_id, detector) DO UPDATE
    SET version = s.version + 1, state = excluded.state, updated_at = excluded.updated_at
    WHERE s.version = $27
    RETURNING s.version
), mdl AS (
    INSERT INTO {schema}.models (model_id, model_version, machine_id, model_type, first_seen_at)
    SELECT $1, $2, $3, $6, $25 FROM cas
    WHERE NOT EXISTS (
        SELECT FROM {schema}.models m WHERE m.model_id = $1 AND m.model_version = $2 AND m.machine_id = $3)
    ON CONFLICT (model_id, model_version, machine_id) DO NOTHING
), ins AS (
    INSERT INTO {schema}.model_performance_metrics
        (model_id, model_version, machine_id, evaluation_date, id, model_type, evaluation_start, evaluation_end,
         sample_count, data_completeness, r_squared, rmse, mae, mape, precision, recall, f1_score, metrics,
         drift_detected, drift_score, drift_threshold, drift_details, verdict, created_by, created_at, metadata)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18::text::jsonb,
        $19, $20, $21, $22::text::jsonb, $23, $24, $25, $26::text::jsonb
    FROM cas
    RETURNING id
)

-- name: record
-- $1 to $28 as in record_with_alerts; for verdicts that nothing follows from, which is nearly all: the plan of the
-- other opens every index of two more tables
{write_evaluation}
SELECT (SELECT same FROM old) AS same, (SELECT true FROM ins) AS inserted, NULL AS alert, NULL AS recovered, NULL AS run

-- name: record_with_recovery
-- $1 to $28 as in record_with_alerts, $29 fingerprint of the alert that is over, if it is open, $30 why
{write_evaluation}, over AS (
    UPDATE {schema}.model_alerts a
    SET is_resolved = true, resolved_timestamp = $25, resolution = 'recovered', resolved_by = 'model_perf',
        resolution_notes = $30
    FROM ins
    WHERE a.fingerprint = $29 AND NOT a.is_resolved
    RETURNING a.*
)
SELECT (SELECT same FROM old) AS same, (SELECT true FROM ins) AS inserted, NULL AS alert,
    (SELECT row_to_json(over)::text FROM over) AS recovered, NULL AS run

-- name: record_with_alerts
-- $1 model_id, $2 model_version, $3 machine_id, $4 evaluation_date, $5 id, $6 model_type, $7 evaluation_start,
-- $8 evaluation_end, $9 sample_count, $10 data_completeness, $11 to $17 the metrics with columns, $18 metrics,
-- $19 drift_detected, $20 drift_score, $21 drift_threshold, $22 drift_details, $23 verdict, $24 created_by,
-- $25 created_at, $26 metadata, $27 version of the state that was read (0 = none), $28 new state,
-- $29 alerts (an array of one object), $30 the training run that the policy wishes for, if it does (an object)
-- One row: same = the key is there with this payload (true) or another (false), NULL where it is new;
-- inserted = this call wrote it. Neither: another writer came first, read again.
{write_evaluation}, wish AS (
    -- Of a new alert, one that has become worse, or one whose run was put off until now; its other repeats must not
    -- train for ever.
    SELECT n.wish, coalesce(o.id, ($29::text::jsonb -> 0 ->> 'id')::uuid) AS alert_id,
        {schema}.model_automation_decide($3, $6, $25, n.wish) AS action
    FROM ins JOIN (VALUES ($30::text::jsonb)) AS n (wish) ON n.wish IS NOT NULL
    LEFT JOIN {schema}.model_alerts o ON o.fingerprint = n.wish ->> 'fingerprint' AND NOT o.is_resolved
    WHERE (o.auto_action ->> 'retry_at')::timestamptz <= $25
        OR (o.auto_action = jsonb_build_object() AND o.severity_rank < (n.wish ->> 'severity_rank')::integer)
        OR o.id IS NULL
), run AS (
    INSERT INTO {schema}.model_training_history AS r
        (id, model_type, machine_id, model_id, model_version, training_status, trigger_type, triggered_by, reason,
         max_attempts, run_after, created_at, alert_id)
    SELECT (w.wish ->> 'id')::uuid, $6, $3, $1, $2, 'pending', w.wish ->> 'trigger_type', 'policy',
        w.wish ->> 'reason', (w.wish ->> 'max_attempts')::integer, $25, $25, w.alert_id
    FROM wish w
    WHERE w.action ->> 'outcome' = 'requested'
    ON CONFLICT (machine_id, model_type) WHERE training_status IN ('pending', 'running') DO UPDATE
    SET id = r.id
    RETURNING r.*
), act AS (
    -- Before the alert, whose row says what was decided. Another call may have opened a run since this one began.
    SELECT CASE WHEN run.id <> (w.wish ->> 'id')::uuid
        THEN w.action || jsonb_build_object(
            'outcome', 'skipped', 'reason', 'skipped: a run is open already', 'run_id', run.id)
        ELSE w.action END AS action
    FROM wish w LEFT JOIN run ON true
), alert AS (
    INSERT INTO {schema}.model_alerts AS a
        (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
         alert_timestamp, last_seen_at, alert_details, current_metric_value, threshold_value,
         baseline_metric_value, auto_action, auto_action_taken)
    SELECT n.id, n.alert_type, n.severity, $6, $3, $1, $2, n.fingerprint, n.alert_message,
        n.alert_timestamp, n.alert_timestamp, n.alert_details, n.current_metric_value, n.threshold_value,
        n.baseline_metric_value, coalesce(act.action, jsonb_build_object()),
        coalesce(act.action ->> 'outcome' = 'requested', false)
    FROM ins CROSS JOIN jsonb_to_recordset($29::text::jsonb) AS n (
        id uuid, alert_type text, severity text, fingerprint text, alert_message text, alert_timestamp timestamptz,
        alert_details jsonb, current_metric_value float8, threshold_value float8, baseline_metric_value float8)
    LEFT JOIN act ON true
    ORDER BY n.fingerprint
    ON CONFLICT (fingerprint) WHERE NOT is_resolved DO UPDATE
    {count_repeat}
    RETURNING a.*
)
SELECT (SELECT same FROM old) AS same,
    (SELECT true FROM ins) AS inserted,
    (SELECT row_to_json(alert)::text FROM alert) AS alert,
    NULL AS recovered,
    coalesce((SELECT row_to_json(run)::text FROM run), (
        SELECT row_to_json(r)::text FROM act JOIN {schema}.model_training_history r
            ON r.id = (act.action ->> 'run_id')::uuid
    )) AS run

-- name: update_state
-- $1 model_id, $2 model_version, $3 machine_id, $4 version that was read (0 = none), $5 state, $6 now
INSERT INTO {schema}.model_drift_state AS s
    (model_id, model_version, machine_id, detector, version, state, updated_at)
VALUES ($1, $2, $3, 'performance', 1, $5::text::jsonb, $6)
ON CONFLICT (model_id, model_version, machine_id, detector) DO UPDATE
SET version = s.version + 1, state = excluded.state, updated_at = excluded.updated_at
WHERE s.version = $4
RETURNING s.version

-- name: update_verdicts
-- $1 model_id, $2 model_version, $3 machine_id; arrays: $4 evaluation_date, $5 id, $6 drift_detected,
-- $7 drift_score, $8 drift_threshold, $9 drift_details, $10 verdict
UPDATE {schema}.model_performance_metrics e
SET drift_detected = n.drift_detected, drift_score = n.drift_score, drift_threshold = n.drift_threshold,
    drift_details = n.drift_details::jsonb, verdict = n.verdict
FROM unnest($4::text[]::timestamptz[], $5::text[]::uuid[], $6::text[]::boolean[], $7::text[]::float8[],
        $8::text[]::float8[], $9::text[], $10::text[])
    AS n (evaluation_date, id, drift_detected, drift_score, drift_threshold, drift_details, verdict)
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3
    AND e.evaluation_date = n.evaluation_date AND e.id = n.id

-- name: fetch_evaluation
-- $1 model_id, $2 model_version, $3 machine_id, $4 id
SELECT {columns}
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3 AND e.id = $4
ORDER BY e.evaluation_date DESC
LIMIT 1

-- name: fetch_repeat
-- $1 model_id, $2 model_version, $3 machine_id, $4 evaluation_date, $5 id: the whole key
SELECT {columns}
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3 AND e.evaluation_date = $4 AND e.id = $5

-- name: fetch_latest
-- $1 model_id, $2 model_version, $3 machine_id; of those with the latest date the one that was recorded last
SELECT {columns}
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3 AND e.evaluation_date = (
    SELECT max(p.evaluation_date) FROM {schema}.model_performance_metrics p
    WHERE p.model_id = $1 AND p.model_version = $2 AND p.machine_id = $3)
ORDER BY e.created_at DESC, e.id DESC
LIMIT 1

-- name: list_latest
-- $1 limit, $2 machine_id and $3 model_type after which the page starts; a row per slot, empty where it has none
SELECT slot.machine_id AS slot_machine_id, slot.model_type AS slot_model_type, {columns}
FROM (
    SELECT DISTINCT m.machine_id, m.model_type FROM {schema}.models m
    WHERE (m.machine_id, m.model_type) > ($2, $3)
    ORDER BY m.machine_id, m.model_type LIMIT $1
) slot
LEFT JOIN LATERAL (
    SELECT l.* FROM {schema}.models m
    CROSS JOIN LATERAL (
        SELECT p.* FROM {schema}.model_performance_metrics p
        WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
        ORDER BY p.evaluation_date DESC, p.id DESC LIMIT 1
    ) l
    WHERE m.machine_id = slot.machine_id AND m.model_type = slot.model_type
    ORDER BY l.evaluation_date DESC, m.model_version DESC, l.id DESC LIMIT 1
) e ON true
ORDER BY slot.machine_id, slot.model_type

-- name: list_evaluations
-- $1 model_id, $2 model_version, $3 machine_id, $4 since, $5 until, $6 and $7 evaluation_date and id before
-- which the page starts (newest first), $8 limit
SELECT {columns}
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3
    AND e.evaluation_date >= $4 AND e.evaluation_date < $5 AND (e.evaluation_date, e.id) < ($6, $7)
ORDER BY e.evaluation_date DESC, e.id DESC
LIMIT $8

-- name: list_history
-- $1 model_id, $2 model_version, $3 machine_id: all that a chart is replayed from, oldest first
SELECT {columns}
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3
ORDER BY e.evaluation_date, e.created_at, e.id

-- name: list_points
-- $1 model_id, $2 model_version, $3 machine_id, $4 since, $5 until, $6 limit
SELECT {point}
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3
    AND e.evaluation_date >= $4 AND e.evaluation_date < $5
ORDER BY e.evaluation_date, e.id
LIMIT $6

-- name: list_slot_points
-- $1 machine_id, $2 model_type, $3 since, $4 until, $5 limit: all versions of the slot
SELECT {point}
FROM {schema}.models m
CROSS JOIN LATERAL (
    SELECT p.* FROM {schema}.model_performance_metrics p
    WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
        AND p.evaluation_date >= $3 AND p.evaluation_date < $4
    ORDER BY p.evaluation_date, p.id
    LIMIT $5
) e
WHERE m.machine_id = $1 AND m.model_type = $2
ORDER BY e.evaluation_date, e.id
LIMIT $5

-- name: list_pairs
-- $1 machine_id, $2 model_a_id, $3 model_a_version, $4 model_b_id, $5 model_b_version, $6 since, $7 until,
-- $8 limit: the evaluations of both on windows inside [since, until]
SELECT {point}
FROM (VALUES ($2::uuid, $3::integer), ($4::uuid, $5::integer)) AS arm (model_id, model_version)
CROSS JOIN LATERAL (
    SELECT p.* FROM {schema}.model_performance_metrics p
    WHERE p.model_id = arm.model_id AND p.model_version = arm.model_version AND p.machine_id = $1
        AND p.evaluation_date >= $6 AND p.evaluation_start >= $6 AND p.evaluation_end <= $7
    ORDER BY p.evaluation_date, p.id
    LIMIT $8
) e
ORDER BY e.evaluation_date, e.id

-- name: list_fleet
-- $1 limit, $2 machine_id and $3 model_type after which the page starts, $4 the metrics that are known (array of text),
-- $5 values; a row per slot: its newest evaluation over all versions, or the newest version where there is none, the
-- newest values of that version's primary metric as the bytes of their floats, and what is open in the slot
SELECT slot.model_type AS slot_model_type, slot.machine_id AS slot_machine_id, names.machine_name,
    e.deployed_id, e.deployed_version, e.version_label, {point}, recent.recent_values,
    coalesce(a.n_open_alerts, 0) AS n_open_alerts, a.worst_rank, t.id AS test_id, t.test_name, r.id AS run_id,
    r.training_status
FROM (
    SELECT DISTINCT m.machine_id, m.model_type FROM {schema}.models m
    WHERE (m.machine_id, m.model_type) > ($2, $3)
    -- filters
    ORDER BY m.machine_id, m.model_type LIMIT $1
) slot
CROSS JOIN LATERAL (
    SELECT max(n.machine_name) AS machine_name FROM {schema}.models n WHERE n.machine_id = slot.machine_id
) names
CROSS JOIN LATERAL (
    SELECT m.model_id AS deployed_id, m.model_version AS deployed_version, m.version_label, l.*
    FROM {schema}.models m
    LEFT JOIN LATERAL (
        SELECT p.* FROM {schema}.model_performance_metrics p
        WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
        ORDER BY p.evaluation_date DESC, p.id DESC LIMIT 1
    ) l ON true
    WHERE m.machine_id = slot.machine_id AND m.model_type = slot.model_type
    ORDER BY l.evaluation_date DESC NULLS LAST, m.model_version DESC, l.id DESC LIMIT 1
) e
CROSS JOIN LATERAL (
    -- As MonitoringPolicy.primary_metric has it. Not pulled up, so that it is found once for all values.
    SELECT CASE
        WHEN e.r_squared IS NOT NULL THEN 'r_squared' WHEN e.f1_score IS NOT NULL THEN 'f1_score'
        WHEN e.rmse IS NOT NULL THEN 'rmse' WHEN e.mae IS NOT NULL THEN 'mae' WHEN e.mape IS NOT NULL THEN 'mape'
        WHEN e.precision IS NOT NULL THEN 'precision' WHEN e.recall IS NOT NULL THEN 'recall'
        ELSE (
            SELECT k.name FROM jsonb_object_keys(e.metrics) WITH ORDINALITY AS k (name, place)
            WHERE k.name = ANY ($4::text[]) ORDER BY k.place LIMIT 1)
    END AS name
    OFFSET 0
) metric
CROSS JOIN LATERAL (
    SELECT string_agg(float8send(v.value), '' ORDER BY v.evaluation_date DESC, v.id DESC) AS recent_values
    FROM (
        SELECT p.evaluation_date, p.id,
            CASE metric.name
                WHEN 'r_squared' THEN p.r_squared WHEN 'f1_score' THEN p.f1_score WHEN 'rmse' THEN p.rmse
                WHEN 'mae' THEN p.mae WHEN 'mape' THEN p.mape WHEN 'precision' THEN p.precision
                WHEN 'recall' THEN p.recall ELSE (p.metrics ->> metric.name)::float8
            END AS value
        FROM {schema}.model_performance_metrics p
        WHERE p.model_id = e.deployed_id AND p.model_version = e.deployed_version AND p.machine_id = slot.machine_id
        ORDER BY p.evaluation_date DESC, p.id DESC LIMIT $5
    ) v
) recent
LEFT JOIN (
    SELECT o.machine_id, o.model_type, count(*) AS n_open_alerts, max(o.severity_rank) AS worst_rank
    FROM {schema}.model_alerts o WHERE NOT o.is_resolved GROUP BY o.machine_id, o.model_type
) a ON a.machine_id = slot.machine_id AND a.model_type = slot.model_type
LEFT JOIN {schema}.model_ab_tests t
    ON t.machine_id = slot.machine_id AND t.model_type = slot.model_type AND t.test_status = 'running'
LEFT JOIN {schema}.model_training_history r
    ON r.machine_id = slot.machine_id AND r.model_type = slot.model_type
    AND r.training_status IN ('pending', 'running')
ORDER BY slot.machine_id, slot.model_type

-- name: is_champion
coalesce((m.model_id, m.model_version) = (
    SELECT c.model_id, c.model_version FROM {schema}.model_champions c
    WHERE c.machine_id = m.machine_id AND c.model_type = m.model_type ORDER BY c.number DESC LIMIT 1), false)

-- name: list_newest_judged
-- $1 machine_id, $2 model_type, $3 limit: of each version of the slot the newest evaluation that was judged, the newest
-- version first
SELECT {columns}
FROM {schema}.models m
CROSS JOIN LATERAL (
    SELECT p.* FROM {schema}.model_performance_metrics p
    WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
        AND p.verdict <> 'not_judged'
    ORDER BY p.evaluation_date DESC, p.id DESC LIMIT 1
) e
WHERE m.machine_id = $1 AND m.model_type = $2
ORDER BY e.evaluation_date DESC, m.model_version DESC
LIMIT $3

-- name: list_versions
-- $1 machine_id, $2 model_type, $3 limit: the versions of a slot, newest first, each with its newest evaluation and
-- the rows that it was trained on
SELECT m.model_id AS deployed_id, m.model_version AS deployed_version, m.version_label, m.first_seen_at, {point},
    trained.sample_count AS training_samples, {is_champion} AS is_champion
FROM {schema}.models m
LEFT JOIN LATERAL (
    SELECT p.* FROM {schema}.model_performance_metrics p
    WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
    ORDER BY p.evaluation_date DESC, p.id DESC LIMIT 1
) e ON true
LEFT JOIN LATERAL (
    SELECT r.sample_count FROM {schema}.model_training_history r
    WHERE r.machine_id = m.machine_id AND r.model_type = m.model_type AND r.training_status = 'completed'
        AND r.model_version = m.model_version AND coalesce(r.model_id, m.model_id) = m.model_id
    ORDER BY r.created_at DESC LIMIT 1
) trained ON true
WHERE m.machine_id = $1 AND m.model_type = $2
ORDER BY m.model_version DESC, m.model_id
LIMIT $3

-- name: fetch_newest_version
-- $1 model_id, $2 machine_id: the champion of that machine, else the newest version known on it, else on any
SELECT m.model_version FROM {schema}.models m
WHERE m.model_id = $1
ORDER BY m.machine_id = $2 DESC, m.machine_id = $2 AND {is_champion} DESC, m.model_version DESC
LIMIT 1

-- name: list_machine_names
-- $1 machine_id (array of text): the names that were registered
SELECT m.machine_id, max(m.machine_name) AS machine_name FROM {schema}.models m
WHERE m.machine_id = ANY ($1::text[]::uuid[]) AND m.machine_name IS NOT NULL
GROUP BY m.machine_id

-- name: fetch_model_type
-- $1 model_id
SELECT m.model_type FROM {schema}.models m WHERE m.model_id = $1 LIMIT 1

-- name: register_models
-- arrays: $1 model_id, $2 model_version, $3 machine_id, $4 model_type; $5 now
INSERT INTO {schema}.models (model_id, model_version, machine_id, model_type, first_seen_at)
SELECT n.model_id, n.model_version, n.machine_id, n.model_type, $5
FROM unnest($1::text[]::uuid[], $2::text[]::integer[], $3::text[]::uuid[], $4::text[])
    AS n (model_id, model_version, machine_id, model_type)
WHERE NOT EXISTS (
    SELECT FROM {schema}.models m
    WHERE m.model_id = n.model_id AND m.model_version = n.model_version AND m.machine_id = n.machine_id)
ORDER BY n.model_id, n.model_version, n.machine_id
ON CONFLICT (model_id, model_version, machine_id) DO NOTHING

-- name: list_model_types
-- arrays: $1 model_id, $2 model_version, $3 machine_id
SELECT m.model_id, m.model_version, m.machine_id, m.model_type
FROM {schema}.models m
JOIN unnest($1::text[]::uuid[], $2::text[]::integer[], $3::text[]::uuid[]) AS n (model_id, model_version, machine_id)
    ON m.model_id = n.model_id AND m.model_version = n.model_version AND m.machine_id = n.machine_id

-- name: lock_slot
-- $1 machine_id and model_type as text: one registration at a time gives out the slot's next version
SELECT pg_advisory_xact_lock(hashtextextended('model_perf slot ' || $1, 7307))

-- name: list_slot_models
-- $1 machine_id, $2 model_type
SELECT {deployment}
FROM {schema}.models m
WHERE m.machine_id = $1 AND m.model_type = $2
ORDER BY m.model_version

-- name: insert_model
-- $1 model_id, $2 model_version, $3 machine_id, $4 model_type, $5 machine_name, $6 version_label,
-- $7 training_data_end, $8 now; names and dates that are given replace those that were known
INSERT INTO {schema}.models AS m
    (model_id, model_version, machine_id, model_type, machine_name, version_label, training_data_end, first_seen_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (model_id, model_version, machine_id) DO UPDATE
SET machine_name = coalesce(excluded.machine_name, m.machine_name),
    version_label = coalesce(excluded.version_label, m.version_label),
    training_data_end = coalesce(excluded.training_data_end, m.training_data_end)
RETURNING {deployment}

-- name: list_models
-- $1, $2, $3 model_id, model_version, machine_id after which the page starts, $4 limit
SELECT {deployment}
FROM {schema}.models m
WHERE (m.model_id, m.model_version, m.machine_id) > ($1, $2, $3)
-- filters
ORDER BY m.model_id, m.model_version, m.machine_id
LIMIT $4

-- name: create_staging
-- the rows of a batch that has duplicates; gone with the transaction
CREATE TEMPORARY TABLE model_perf_staging (
    model_id uuid, model_version integer, machine_id uuid, evaluation_date timestamptz, id uuid, model_type text,
    evaluation_start timestamptz, evaluation_end timestamptz, sample_count bigint, data_completeness float8,
    r_squared float8, rmse float8, mae float8, mape float8, precision float8, recall float8, f1_score float8,
    metrics jsonb, created_by text, created_at timestamptz, metadata jsonb
) ON COMMIT DROP

-- name: merge_staging
INSERT INTO {schema}.model_performance_metrics
    (model_id, model_version, machine_id, evaluation_date, id, model_type, evaluation_start, evaluation_end,
     sample_count, data_completeness, r_squared, rmse, mae, mape, precision, recall, f1_score, metrics, created_by,
     created_at, metadata)
SELECT s.model_id, s.model_version, s.machine_id, s.evaluation_date, s.id, s.model_type, s.evaluation_start,
    s.evaluation_end, s.sample_count, s.data_completeness, s.r_squared, s.rmse, s.mae, s.mape, s.precision,
    s.recall, s.f1_score, s.metrics::jsonb, s.created_by, s.created_at, s.metadata::jsonb
FROM pg_temp.model_perf_staging s
ORDER BY s.model_id, s.model_version, s.machine_id, s.evaluation_date, s.id
ON CONFLICT (model_id, model_version, machine_id, evaluation_date, id) DO NOTHING

-- name: find_conflict
-- a row of the batch whose key is there with another payload
SELECT {columns}
FROM pg_temp.model_perf_staging s
JOIN {schema}.model_performance_metrics e
    ON e.model_id = s.model_id AND e.model_version = s.model_version AND e.machine_id = s.machine_id
    AND e.evaluation_date = s.evaluation_date AND e.id = s.id
WHERE (e.model_type, e.evaluation_start, e.evaluation_end, e.sample_count, e.data_completeness, e.r_squared, e.rmse,
       e.mae, e.mape, e.precision, e.recall, e.f1_score, e.metrics)
    IS DISTINCT FROM
      (s.model_type, s.evaluation_start, s.evaluation_end, s.sample_count, s.data_completeness, s.r_squared, s.rmse,
       s.mae, s.mape, s.precision, s.recall, s.f1_score, s.metrics::jsonb)
LIMIT 1
