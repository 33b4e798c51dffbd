-- What is due over the whole fleet: a statement each, however many models there are; safe from many processes at once.

-- name: tell_failures
-- $1 now: runs that have failed since the last call, each counted once by whoever marks it; one alert per slot. Those
-- that a later run has made good are marked only. The alert opens now, so that it is told; for one of more than 30 days
-- ago, as an import brings, it opened then. last_seen_at is the end of the last one: a run that ends later mends it
WITH failed AS (
    UPDATE {schema}.model_training_history r
    SET failure_told_at = $1
    WHERE r.id IN (
        SELECT x.id FROM {schema}.model_training_history x
        WHERE x.training_status = 'failed' AND x.failure_told_at IS NULL
        ORDER BY x.machine_id, x.model_type, x.id FOR UPDATE SKIP LOCKED)
    RETURNING r.id, r.machine_id, r.model_type, r.model_id, r.model_version, r.attempt, r.error_message, r.created_at,
        coalesce(r.training_end, $1) AS failed_at
), told AS (
    SELECT DISTINCT ON (f.machine_id, f.model_type) f.*, count(*) OVER (PARTITION BY f.machine_id, f.model_type) AS n
    FROM failed f
    WHERE NOT EXISTS (
        SELECT FROM {schema}.model_training_history c
        WHERE c.machine_id = f.machine_id AND c.model_type = f.model_type AND c.training_status = 'completed'
            AND c.created_at > f.created_at)
    ORDER BY f.machine_id, f.model_type, f.failed_at DESC, f.id DESC
)
INSERT INTO {schema}.model_alerts AS a
    (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
     alert_timestamp, last_seen_at, occurrences, alert_details)
SELECT gen_random_uuid(), 'training_failed', 'warning', t.model_type, t.machine_id, t.model_id, t.model_version,
    'training_failed:' || t.machine_id || ':' || t.model_type,
    format('%s: the training has failed in attempt %s: %s', t.model_type, t.attempt, left(t.error_message, 500)),
    CASE WHEN t.failed_at >= $1 - interval '720 hours' THEN $1 ELSE t.failed_at END, t.failed_at, t.n,
    jsonb_build_object('run_id', t.id, 'attempt', t.attempt, 'error_message', left(t.error_message, 500))
FROM told t
ORDER BY 8
ON CONFLICT (fingerprint) WHERE NOT is_resolved DO UPDATE
SET occurrences = a.occurrences + excluded.occurrences,
    last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at),
    alert_message = excluded.alert_message,
    alert_details = excluded.alert_details
RETURNING {alert_columns}

-- name: mend_failures
-- $1 now: alerts of failed runs whose slot has completed one since
UPDATE {schema}.model_alerts a
SET is_resolved = true, resolved_timestamp = $1, resolution = 'retrained', resolved_by = 'model_perf',
    resolution_notes = 'a later run has completed'
WHERE a.id IN (
    SELECT o.id FROM {schema}.model_alerts o
    WHERE NOT o.is_resolved AND o.alert_type = 'training_failed' AND EXISTS (
        SELECT FROM {schema}.model_training_history c
        WHERE c.machine_id = o.machine_id AND c.model_type = o.model_type AND c.training_status = 'completed'
            AND c.training_end > o.last_seen_at)
    ORDER BY o.id FOR UPDATE SKIP LOCKED)
RETURNING {alert_columns}

-- name: tell_stale
-- $1 now, $2 times the usual interval, $3 times a long one, $4 times that of batches: slots of which nothing was heard for
-- longer than all. Usual is the median distance of the last 20 evaluations over the two versions that were evaluated last,
-- long the ninth decile: a model that rests at weekends is not silent on Mondays. An evaluation dated in the future counts
-- from its recording on: a wrong year is no sign of life. Where many windows are recorded at once, as those of a day
-- every night, the interval is that since the batch before. The id is made of the last evaluation: a silence is told
-- once, whoever looks, and stays resolved where somebody has resolved it
WITH deployed AS (
    SELECT m.machine_id, m.model_type, m.model_id, m.model_version, e.evaluation_date AS newest,
        row_number() OVER (
            PARTITION BY m.machine_id, m.model_type ORDER BY e.evaluation_date DESC, m.model_version DESC) AS place
    FROM {schema}.models m
    CROSS JOIN LATERAL (
        SELECT p.evaluation_date FROM {schema}.model_performance_metrics p
        WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
        ORDER BY p.evaluation_date DESC, p.id DESC LIMIT 1
    ) e
), evaluated AS (
    SELECT d.machine_id, d.model_type, p.evaluation_date, max(p.created_at) AS created_at
    FROM deployed d
    CROSS JOIN LATERAL (
        SELECT CASE WHEN e.evaluation_date <= $1 THEN e.evaluation_date ELSE e.created_at END AS evaluation_date, e.created_at
        FROM {schema}.model_performance_metrics e
        WHERE e.model_id = d.model_id AND e.model_version = d.model_version AND e.machine_id = d.machine_id
        ORDER BY e.evaluation_date DESC, e.id DESC LIMIT 20
    ) p
    WHERE d.place <= 2
    GROUP BY d.machine_id, d.model_type, p.evaluation_date
), distances AS (
    SELECT v.*, v.evaluation_date - lag(v.evaluation_date) OVER slot AS distance,
        row_number() OVER (PARTITION BY v.machine_id, v.model_type ORDER BY v.evaluation_date DESC) AS place
    FROM evaluated v
    WINDOW slot AS (PARTITION BY v.machine_id, v.model_type ORDER BY v.evaluation_date)
), heard AS (
    SELECT i.machine_id, i.model_type, greatest(max(i.created_at), max(i.evaluation_date)) AS last_at,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY i.distance) AS usual,
        percentile_cont(0.9) WITHIN GROUP (ORDER BY i.distance) AS long
    FROM distances i
    WHERE i.place <= 20
    GROUP BY i.machine_id, i.model_type
    HAVING count(*) >= 3
)
INSERT INTO {schema}.model_alerts AS a
    (id, alert_type, severity, model_type, machine_id, model_id, model_version, fingerprint, alert_message,
     alert_timestamp, last_seen_at, alert_details, current_metric_value, threshold_value, baseline_metric_value)
SELECT encode(substring(sha256(convert_to(
        concat_ws(':', 'stale_model', h.machine_id, h.model_type, extract(epoch FROM h.last_at)), 'UTF8'
    )) FROM 1 FOR 16), 'hex')::uuid,
    'stale_model', 'warning', h.model_type, h.machine_id, d.model_id, d.model_version,
    'stale_model:' || h.machine_id || ':' || h.model_type,
    format('%s version %s: no evaluation for %s h, the usual interval is %s h', h.model_type, d.model_version,
        round(s.silent_h, 1), round(u.usual_h, 1)),
    $1, $1, jsonb_build_object('last_evaluation_at', h.last_at, 'usual_hours', u.usual_h),
    s.silent_h, u.allowed_h, u.usual_h
FROM heard h
JOIN deployed d ON d.machine_id = h.machine_id AND d.model_type = h.model_type AND d.place = 1
CROSS JOIN LATERAL (VALUES (
    (extract(epoch FROM $1 - h.last_at) / 3600)::numeric,
    (extract(epoch FROM greatest($2::float8 * h.usual, $3::float8 * h.long)) / 3600)::numeric,
    (extract(epoch FROM h.usual) / 3600)::numeric
)) AS s (silent_h, allowed_h, usual_h)
LEFT JOIN LATERAL (
    -- Twice as far back each time, to the first that was recorded apart from the last ones; none where that is the next.
    SELECT CASE WHEN b.k > 0 THEN (extract(epoch FROM h.last_at - p.created_at) / 3600)::numeric END AS since_h
    FROM (SELECT x.k, least(h.usual * 2 ^ x.k, interval '3650 days') AS back FROM generate_series(0, 16) AS x (k)) b
    CROSS JOIN LATERAL (
        SELECT e.created_at FROM {schema}.model_performance_metrics e
        WHERE e.model_id = d.model_id AND e.model_version = d.model_version AND e.machine_id = d.machine_id
            AND e.evaluation_date <= d.newest - b.back
        ORDER BY e.evaluation_date DESC, e.id DESC LIMIT 1
    ) p
    WHERE s.silent_h > s.allowed_h AND h.last_at - p.created_at > b.back / 10
    ORDER BY b.k LIMIT 1
) batch ON true
CROSS JOIN LATERAL (VALUES (
    greatest(s.allowed_h, $4::float8::numeric * batch.since_h), greatest(s.usual_h, batch.since_h)
)) AS u (allowed_h, usual_h)
WHERE s.silent_h > u.allowed_h
ORDER BY 8
ON CONFLICT DO NOTHING
RETURNING {alert_columns}

-- name: hear_again
-- $1 now: alerts of stale models that have been evaluated since
UPDATE {schema}.model_alerts a
SET is_resolved = true, resolved_timestamp = $1, resolution = 'recovered', resolved_by = 'model_perf',
    resolution_notes = 'evaluations come again'
WHERE a.id IN (
    SELECT o.id FROM {schema}.model_alerts o
    WHERE NOT o.is_resolved AND o.alert_type = 'stale_model' AND EXISTS (
        SELECT FROM {schema}.models m
        CROSS JOIN LATERAL (
            SELECT greatest(p.created_at, CASE WHEN p.evaluation_date <= $1 THEN p.evaluation_date END) AS heard_at
            FROM {schema}.model_performance_metrics p
            WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
            ORDER BY p.evaluation_date DESC, p.id DESC LIMIT 20
        ) e
        WHERE m.machine_id = o.machine_id AND m.model_type = o.model_type
            AND e.heard_at > (o.alert_details ->> 'last_evaluation_at')::timestamptz)
    ORDER BY o.id FOR UPDATE SKIP LOCKED)
RETURNING {alert_columns}

-- name: list_retrained
-- $1 the time until which a run must have ended if its alert waits for a test that nobody has started: open alerts of
-- performance and data that a completed run answers. Where it is kept which version serves, the run's version must;
-- else, where it started a test, its version must have won that. test_name = that of the test that it has won, if any
SELECT a.id, c.id AS run_id, c.model_version, c.test_name
FROM {schema}.model_alerts a
LEFT JOIN LATERAL (
    SELECT s.model_id, s.model_version FROM {schema}.model_champions s
    WHERE s.machine_id = a.machine_id AND s.model_type = a.model_type ORDER BY s.number DESC LIMIT 1
) s ON true
CROSS JOIN LATERAL (
    SELECT r.id, r.model_version, CASE t.decision WHEN 'superior_b' THEN t.test_name END AS test_name
    FROM {schema}.model_training_history r
    LEFT JOIN {schema}.model_ab_tests t ON t.training_run_id = r.id AND t.test_status <> 'cancelled'
    WHERE r.machine_id = a.machine_id AND r.model_type = a.model_type AND r.training_status = 'completed'
        -- The run that the alert asked for ends after it, whatever the worker's clock says.
        AND (r.training_end >= a.alert_timestamp OR r.alert_id = a.id)
        -- Versions of different models have no order.
        AND (r.model_id <> a.model_id OR coalesce(r.model_version > a.model_version, true))
        AND CASE WHEN s.model_id IS NOT NULL
                THEN (coalesce(r.model_id, s.model_id), r.model_version) = (s.model_id, s.model_version)
            WHEN t.id IS NOT NULL THEN coalesce(t.decision = 'superior_b', false)
            ELSE (a.auto_action ->> 'start_ab_test') IS DISTINCT FROM 'true' OR r.training_end <= $1 END
    ORDER BY r.training_end LIMIT 1
) c
WHERE NOT a.is_resolved AND a.alert_type IN ('performance_degradation', 'data_drift')
-- filters
ORDER BY a.id
