-- A/B tests: the design is fixed at the start, the finding is written once.

-- name: columns
t.id, t.test_name, t.model_type, t.machine_id, t.model_a_id, t.model_a_version, t.model_b_id, t.model_b_version,
t.test_start, t.test_end, t.test_status, t.traffic_split, t.design::text AS design, t.winner_model,
t.winner_metrics::text AS winner_metrics, t.decision, t.decision_reason, t.decided_at, t.decided_by, t.created_by,
t.created_at, t.metadata::text AS metadata

-- name: start
-- $1 id, $2 test_name, $3 model_type, $4 machine_id, $5 model_a_id, $6 model_a_version, $7 model_b_id,
-- $8 model_b_version, $9 test_start, $10 test_end, $11 traffic_split, $12 design, $13 created_by, $14 now,
-- $15 metadata; started = this call made it, else the row is the test that runs in the slot already
INSERT INTO {schema}.model_ab_tests AS t
    (id, test_name, model_type, machine_id, model_a_id, model_a_version, model_b_id, model_b_version, test_start,
     test_end, test_status, traffic_split, design, created_by, created_at, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'running', $11, $12::text::jsonb, $13, $14, $15::text::jsonb)
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
