-- A/B tests: the design is fixed at the start, the finding is written once.

-- name: columns
t.id, t.test_name, t.model_type, t.machine_id, t.model_a_id, t.model_a_version, t.model_b_id, t.model_b_version,
t.test_start, t.test_end, t.test_status, t.traffic_split, t.design::text AS design, t.winner_model,
t.winner_metrics::text AS winner_metrics, t.decision, t.decision_reason, t.decided_at, t.decided_by, t.created_by,
t.created_at, t.metadata::text AS metadata, t.training_run_id,
(SELECT coalesce(sum(late.n), 0) FROM {schema}.model_ab_batches late WHERE late.test_id = t.id AND late.is_late)::bigint
    AS late_observations

-- name: start
-- $1 id, $2 test_name, $3 model_type, $4 machine_id, $5 model_a_id, $6 model_a_version, $7 model_b_id,
-- $8 model_b_version, $9 test_start, $10 test_end, $11 traffic_split, $12 design, $13 created_by, $14 now,
-- $15 metadata, $16 training_run_id; started = this call made it, else the row is the test that runs in the slot already
INSERT INTO {schema}.model_ab_tests AS t
    (id, test_name, model_type, machine_id, model_a_id, model_a_version, model_b_id, model_b_version, test_start,
     test_end, test_status, traffic_split, design, created_by, created_at, metadata, training_run_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'running', $11, $12::text::jsonb, $13, $14, $15::text::jsonb, $16)
ON CONFLICT (machine_id, model_type) WHERE test_status = 'running' DO UPDATE
SET id = t.id
RETURNING {columns}, t.id = $1 AS started

-- name: fetch
-- $1 id
SELECT {columns} FROM {schema}.model_ab_tests t WHERE t.id = $1

-- name: list_active
-- $1 and $2 test_start and id before which the page starts (newest first), $3 limit
SELECT {columns} FROM {schema}.model_ab_tests t
WHERE t.test_status = 'running' AND (t.test_start, t.id) < ($1, $2)
-- filters
ORDER BY t.test_start DESC, t.id DESC
LIMIT $3

-- name: list_tests
-- $1 and $2 test_start and id before which the page starts (newest first), $3 limit
SELECT {columns} FROM {schema}.model_ab_tests t
WHERE (t.test_start, t.id) < ($1, $2)
-- filters
ORDER BY t.test_start DESC, t.id DESC
LIMIT $3

-- name: conclude
-- $1 id, $2 decision, $3 decision_reason, $4 winner_model, $5 winner_metrics, $6 decided_by, $7 now
UPDATE {schema}.model_ab_tests t
SET test_status = 'completed', decision = $2, decision_reason = $3, winner_model = $4,
    winner_metrics = $5::text::jsonb, decided_by = $6, decided_at = $7
WHERE t.id = $1 AND t.test_status = 'running'
RETURNING {columns}

-- name: cancel
-- $1 id, $2 reason, $3 by, $4 now
UPDATE {schema}.model_ab_tests t
SET test_status = 'cancelled', decision_reason = $2, decided_by = $3, decided_at = $4
WHERE t.id = $1 AND t.test_status IN ('planned', 'running')
RETURNING {columns}

-- name: d
(CASE WHEN abs((excluded.mean - m.mean) - m.mean_rest) < 1e-60 THEN 0
    ELSE (excluded.mean - m.mean) - m.mean_rest END)

-- name: y
(CASE WHEN abs(excluded.covariate_mean - m.covariate_mean) < 1e-60 THEN 0
    ELSE excluded.covariate_mean - m.covariate_mean END)

-- name: share
(excluded.n::float8 / (m.n + excluded.n))

-- name: add_moments
-- $1 test_id, $2 batch_id, $3 now, $4 observations in the batch, $5 cells (an array of objects)
-- One row, none where there is no such test: is_repeat = the batch was in already; is_late = the test takes no more.
-- Distances below 1e-60 count as 0, and their squares: PostgreSQL refuses products that underflow.
WITH test AS MATERIALIZED (
    SELECT t.id, t.test_status <> 'running' OR t.test_end <= $3 AS is_late
    FROM {schema}.model_ab_tests t WHERE t.id = $1
    FOR SHARE
), batch AS (
    INSERT INTO {schema}.model_ab_batches (test_id, batch_id, n, is_late, created_at)
    SELECT test.id, $2, $4, test.is_late, $3 FROM test
    ON CONFLICT (test_id, batch_id) DO NOTHING
    RETURNING is_late
), cells AS (
    INSERT INTO {schema}.model_ab_moments AS m
        (test_id, metric, arm, slot, n, mean, m2, m3, covariate_mean, covariate_m2, covariate_cross, updated_at)
    SELECT $1, c.metric, c.arm, c.slot, c.n, c.mean, CASE WHEN c.m2 < 1e-120 THEN 0 ELSE c.m2 END, c.m3,
        c.covariate_mean, c.covariate_m2, c.covariate_cross, $3
    FROM batch CROSS JOIN json_to_recordset($5::text::json) AS c (
        metric text, arm text, slot integer, n bigint, mean float8, m2 float8, m3 float8,
        covariate_mean float8, covariate_m2 float8, covariate_cross float8)
    WHERE NOT batch.is_late
    ORDER BY c.metric, c.arm, c.slot
    -- The update of Chan et al. and Pebay, by d, the distance of the means. mean_rest holds what rounding took from the
    -- mean: of values near 1e9 it would else grow with every batch, and m2 with it.
    ON CONFLICT (test_id, metric, arm, slot) DO UPDATE
    SET n = m.n + excluded.n,
        mean = m.mean + (m.mean_rest + {d} * {share}),
        mean_rest = (m.mean_rest + {d} * {share}) - ((m.mean + (m.mean_rest + {d} * {share})) - m.mean),
        m2 = m.m2 + excluded.m2 + {d} ^ 2 * m.n * {share},
        m3 = m.m3 + excluded.m3
            + 3 * {d} * (m.n * (excluded.m2 / (m.n + excluded.n)) - {share} * m.m2)
            + {d} ^ 3 * m.n * {share} * ((m.n - excluded.n)::float8 / (m.n + excluded.n)),
        covariate_mean = m.covariate_mean + {y} * {share},
        covariate_m2 = m.covariate_m2 + excluded.covariate_m2 + {y} ^ 2 * m.n * {share},
        covariate_cross = m.covariate_cross + excluded.covariate_cross + {y} * {d} * m.n * {share},
        updated_at = excluded.updated_at
)
SELECT coalesce(old.is_late, test.is_late) AS is_late, NOT EXISTS (SELECT FROM batch) AS is_repeat
FROM test
-- As it was before this statement: a batch that was in before the end is not late when it is sent again after it.
LEFT JOIN {schema}.model_ab_batches old ON old.test_id = test.id AND old.batch_id = $2

-- name: fetch_moments
-- $1 test_id
SELECT m.metric, m.arm, m.slot, m.n, m.mean, m.m2, m.m3, m.covariate_mean, m.covariate_m2, m.covariate_cross
FROM {schema}.model_ab_moments m WHERE m.test_id = $1
ORDER BY m.metric, m.arm, m.slot

-- name: fetch_with_looks
-- $1 test_id, $2 how many looks, the newest
SELECT {columns}, l.looks::text AS looks
FROM {schema}.model_ab_tests t
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(
        n.look_at, n.n_a, n.n_b, n.decision, n.reason, n.effect, n.standard_error, n.confidence_low, n.confidence_high,
        n.pvalue, n.sample_ratio_pvalue) ORDER BY n.look_at) AS looks
    FROM (
        SELECT k.look_at, k.n_a, k.n_b, k.decision, k.reason, k.effect, k.standard_error, k.confidence_low,
            k.confidence_high, k.pvalue, k.sample_ratio_pvalue
        FROM {schema}.model_ab_looks k
        -- The one that decided is the last of its test, also where other clocks were ahead of its own.
        WHERE k.test_id = t.id AND k.look_at <= coalesce(t.decided_at, 'infinity')
        ORDER BY k.look_at DESC LIMIT $2
    ) n
) l
WHERE t.id = $1

-- name: add_look
-- $1 test_id, $2 look_at, $3 n_a, $4 n_b, $5 decision, $6 reason, $7 effect, $8 standard_error, $9 confidence_low,
-- $10 confidence_high, $11 pvalue, $12 sample_ratio_pvalue; of two looks in the same microsecond one is kept
INSERT INTO {schema}.model_ab_looks
    (test_id, look_at, n_a, n_b, decision, reason, effect, standard_error, confidence_low, confidence_high, pvalue,
     sample_ratio_pvalue)
SELECT t.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
FROM {schema}.model_ab_tests t WHERE t.id = $1 AND t.test_status = 'running'
ON CONFLICT (test_id, look_at) DO NOTHING

-- name: conclude_by_look
-- $1 to $12 as in add_look, $13 winner_model, $14 winner_metrics, $15 decided_by
WITH done AS (
    UPDATE {schema}.model_ab_tests t
    SET test_status = 'completed', decision = $5, decision_reason = $6, winner_model = $13,
        winner_metrics = $14::text::jsonb, decided_by = $15, decided_at = $2
    WHERE t.id = $1 AND t.test_status = 'running'
    RETURNING {columns}
), look AS (
    INSERT INTO {schema}.model_ab_looks
        (test_id, look_at, n_a, n_b, decision, reason, effect, standard_error, confidence_low, confidence_high, pvalue,
         sample_ratio_pvalue)
    SELECT done.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM done
    -- Another look in the same microsecond, or by a clock that was put back, gives way to the one that decided.
    ON CONFLICT (test_id, look_at) DO UPDATE
    SET n_a = excluded.n_a, n_b = excluded.n_b, decision = excluded.decision, reason = excluded.reason,
        effect = excluded.effect, standard_error = excluded.standard_error, confidence_low = excluded.confidence_low,
        confidence_high = excluded.confidence_high, pvalue = excluded.pvalue,
        sample_ratio_pvalue = excluded.sample_ratio_pvalue
)
SELECT * FROM done

-- name: list_due
-- $1 now
SELECT {columns} FROM {schema}.model_ab_tests t WHERE t.test_status = 'running' AND t.test_end <= $1
ORDER BY t.test_end, t.id
