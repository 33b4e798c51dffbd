-- Whether the policy may act by itself for a machine and model type: a switch each, and without a row it may.

-- name: columns
s.machine_id, s.model_type, s.is_enabled, s.reason, s.changed_by, s.changed_at

-- name: set_switch
-- $1 machine_id, $2 model_type, $3 is_enabled, $4 reason, $5 changed_by, $6 now
INSERT INTO {schema}.model_automation AS s (machine_id, model_type, is_enabled, reason, changed_by, changed_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (machine_id, model_type) DO UPDATE
SET is_enabled = excluded.is_enabled, reason = excluded.reason, changed_by = excluded.changed_by,
    changed_at = excluded.changed_at
RETURNING {columns}

-- name: fetch_switch
-- $1 machine_id, $2 model_type
SELECT {columns} FROM {schema}.model_automation s WHERE s.machine_id = $1 AND s.model_type = $2

-- name: list_switches
-- $1 machine_id and $2 model_type after which the page starts, $3 limit
SELECT {columns} FROM {schema}.model_automation s
WHERE (s.machine_id, s.model_type) > ($1, $2)
ORDER BY s.machine_id, s.model_type
LIMIT $3
