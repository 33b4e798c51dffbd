-- Which version serves a machine: a row per change, never rewritten; the highest number serves.

-- name: columns
c.machine_id, c.model_type, c.number, c.action, c.model_id, c.model_version, c.reason, c.promoted_by, c.promoted_at,
c.training_run_id, c.ab_test_id

-- name: row
(machine_id, model_type, number, action, model_id, model_version, reason, promoted_by, promoted_at, training_run_id,
    ab_test_id, metadata)

-- name: promote
-- $1 machine_id, $2 model_type, $3 model_id, $4 model_version, $5 number that it replaces, 0 for none, NULL for
-- whichever serves, $6 reason, $7 promoted_by, $8 now, $9 training_run_id, $10 ab_test_id. No row: another one serves
-- than was expected, or this version serves already.
INSERT INTO {schema}.model_champions AS c {row}
SELECT $1, $2, s.number + 1, 'promotion', $3, $4, $6, $7, $8, $9, $10, jsonb_build_object()
FROM (SELECT coalesce(max(n.number), 0) AS number FROM {schema}.model_champions n
    WHERE n.machine_id = $1 AND n.model_type = $2) s
WHERE s.number = coalesce($5, s.number) AND NOT EXISTS (
    SELECT FROM {schema}.model_champions n
    WHERE n.machine_id = $1 AND n.model_type = $2 AND n.number = s.number AND n.model_id = $3 AND n.model_version = $4)
ON CONFLICT (machine_id, model_type, number) DO NOTHING
RETURNING {columns}

-- name: roll_back
-- $1 machine_id, $2 model_type, $3 number that it replaces, NULL for whichever serves, $4 reason, $5 promoted_by, $6 now
-- Champions are a stack: a promotion lays one on it, a rollback takes one off. returns_to says where in the stack the
-- champion lies that a rollback has brought back, so that the next one goes on from there. No row: another one serves
-- than was expected, or there was none before.
INSERT INTO {schema}.model_champions AS c {row}
SELECT $1, $2, s.number + 1, 'rollback', b.model_id, b.model_version, $4, $5, $6, b.training_run_id, NULL,
    jsonb_build_object('returns_to', coalesce((b.metadata ->> 'returns_to')::integer, b.number))
FROM (SELECT n.number, coalesce((n.metadata ->> 'returns_to')::integer, n.number) AS place
    FROM {schema}.model_champions n WHERE n.machine_id = $1 AND n.model_type = $2 ORDER BY n.number DESC LIMIT 1) s
JOIN {schema}.model_champions b ON b.machine_id = $1 AND b.model_type = $2 AND b.number = (
    -- A model that was forgotten leaves a gap.
    SELECT max(n.number) FROM {schema}.model_champions n
    WHERE n.machine_id = $1 AND n.model_type = $2 AND n.number < s.place)
WHERE s.number = coalesce($3, s.number)
ON CONFLICT (machine_id, model_type, number) DO NOTHING
RETURNING {columns}

-- name: fetch
-- $1 machine_id, $2 model_type
SELECT {columns} FROM {schema}.model_champions c WHERE c.machine_id = $1 AND c.model_type = $2
ORDER BY c.number DESC LIMIT 1

-- name: list_changes
-- $1 machine_id, $2 model_type, $3 number before which the page starts (newest first), $4 limit
SELECT {columns} FROM {schema}.model_champions c
WHERE c.machine_id = $1 AND c.model_type = $2 AND c.number < $3
ORDER BY c.number DESC LIMIT $4
