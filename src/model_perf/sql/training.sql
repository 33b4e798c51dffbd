-- Training runs as a state machine: every later transition names the attempt that it belongs to.

-- name: claimed
-- MATERIALIZED: a plan that looked for the due ones again would claim too many. How many is text: a parameter would have
-- PostgreSQL plan anew each time, which takes three times as long as the rest.
due AS MATERIALIZED (
    SELECT x.id FROM {schema}.model_training_history x
    WHERE x.training_status IN ('pending', 'running') AND x.run_after <= $1 AND x.attempt < x.max_attempts
        AND x.model_type = ANY ($4) AND x.id <> ALL ($5::text[]::uuid[])
    ORDER BY x.run_after FOR UPDATE SKIP LOCKED LIMIT 1
)
UPDATE {schema}.model_training_history r
SET {taken}
FROM due WHERE r.id = due.id
RETURNING {columns}

-- name: columns
r.id, r.model_type, r.machine_id, r.model_id, r.model_version, r.training_status, r.trigger_type, r.triggered_by,
r.reason, r.training_start, r.training_end, r.training_data_start, r.training_data_end, r.sample_count,
r.performance_improvement, r.hyperparameters::text AS hyperparameters, r.feature_names,
r.training_metrics::text AS training_metrics, r.validation_metrics::text AS validation_metrics, r.attempt,
r.max_attempts, r.run_after, r.lease_until, r.worker, r.progress, r.error_message, r.error_traceback, r.alert_id,
r.created_at, r.metadata::text AS metadata

-- name: expired
UPDATE {schema}.model_training_history r
SET training_status = 'failed', training_end = $1, lease_until = NULL,
    error_message = 'lease expired: the worker stopped reporting in its last attempt'
WHERE r.id IN (
    SELECT x.id FROM {schema}.model_training_history x
    WHERE x.training_status = 'running' AND x.run_after <= $1 AND x.lease_until <= $1
        AND x.attempt >= x.max_attempts

-- name: fail_expired
-- $1 now: runs whose last attempt lost its lease would block their slot for ever
{expired} ORDER BY x.id FOR UPDATE SKIP LOCKED)

-- name: open_run
-- $1 id, $2 model_type, $3 machine_id, $4 model_id, $5 model_version, $6 trigger_type, $7 triggered_by, $8 reason,
-- $9 training_data_start, $10 training_data_end, $11 hyperparameters, $12 max_attempts, $13 run_after, $14 now,
-- $15 metadata; triggered = this call opened it, else the row is the run that was open already
INSERT INTO {schema}.model_training_history AS r
    (id, model_type, machine_id, model_id, model_version, training_status, trigger_type, triggered_by, reason,
     training_data_start, training_data_end, hyperparameters, max_attempts, run_after, created_at, metadata)
VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8, $9, $10, $11::text::jsonb, $12, $13, $14, $15::text::jsonb)
ON CONFLICT (machine_id, model_type) WHERE training_status IN ('pending', 'running') DO UPDATE
SET id = r.id
RETURNING {columns}, r.id = $1 AS triggered

-- name: taken
training_status = 'running', attempt = r.attempt + 1, worker = $3, lease_until = $2, run_after = $2,
    progress = NULL, training_start = $1, metadata = r.metadata - 'stage' - 'external_id'

-- name: claim
-- $1 now, $2 lease_until, $3 worker
UPDATE {schema}.model_training_history r
SET {taken}
WHERE r.id = (
    SELECT x.id FROM {schema}.model_training_history x
    WHERE x.training_status IN ('pending', 'running') AND x.run_after <= $1 AND x.attempt < x.max_attempts
    -- filters
    ORDER BY x.run_after FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING {columns}

-- name: claim_many
-- $1 now, $2 lease_until, $3 worker, $4 model_types, $5 ids that it holds: a worker whose clock was put forward, or whose
-- loop was blocked, takes no run from itself. One statement, as an idle worker asks it at every poll.
WITH {claimed}

-- name: claim_with_upkeep
-- $1 to $5 as in claim_many. Now and then: says that the worker lives, and fails what has expired, for which all that is
-- due must be read. What is failed has no attempt left and what is claimed has one: no row is touched twice.
WITH expired AS (
    {expired} ORDER BY x.id FOR UPDATE SKIP LOCKED)
), seen AS (
    -- It may have started while the database was away.
    INSERT INTO {schema}.model_workers (worker, model_types, started_at, seen_at) VALUES ($3, $4, $1, $1)
    ON CONFLICT (worker) DO UPDATE
    SET seen_at = excluded.seen_at, model_types = excluded.model_types, stopped_at = NULL
), {claimed}

-- name: heartbeat
-- $1 id, $2 attempt, $3 lease_until, $4 progress, $5 stage; a clock that was put back shortens no lease
UPDATE {schema}.model_training_history r
SET lease_until = greatest(r.lease_until, $3), run_after = greatest(r.run_after, $3),
    progress = coalesce($4, r.progress),
    metadata = r.metadata || jsonb_strip_nulls(jsonb_build_object('stage', $5::text))
WHERE r.id = $1 AND r.attempt = $2 AND r.training_status = 'running'
RETURNING {columns}

-- name: complete
-- $1 id, $2 attempt, $3 now, $4 model_id, $5 model_version, $6 training_data_start, $7 training_data_end,
-- $8 sample_count, $9 performance_improvement, $10 hyperparameters, $11 feature_names, $12 training_metrics,
-- $13 validation_metrics, $14 metadata
UPDATE {schema}.model_training_history r
SET training_status = 'completed', training_end = $3, lease_until = NULL, progress = 1,
    model_id = coalesce($4, r.model_id), model_version = coalesce($5, r.model_version),
    training_data_start = coalesce($6, r.training_data_start), training_data_end = coalesce($7, r.training_data_end),
    sample_count = $8, performance_improvement = $9, hyperparameters = r.hyperparameters || $10::text::jsonb,
    feature_names = $11, training_metrics = $12::text::jsonb, validation_metrics = $13::text::jsonb,
    metadata = r.metadata || $14::text::jsonb, error_message = NULL, error_traceback = NULL
WHERE r.id = $1 AND r.attempt = $2 AND r.training_status = 'running'
RETURNING {columns}

-- name: fail
-- $1 id, $2 attempt, $3 now, $4 error_message, $5 error_traceback
UPDATE {schema}.model_training_history r
SET training_status = 'failed', training_end = $3, lease_until = NULL, error_message = $4, error_traceback = $5
WHERE r.id = $1 AND r.attempt = $2 AND r.training_status = 'running'
RETURNING {columns}

-- name: retry
-- $1 id, $2 attempt, $3 run_after, $4 error_message, $5 error_traceback; only while an attempt is left
UPDATE {schema}.model_training_history r
SET training_status = 'pending', run_after = $3, lease_until = NULL, worker = NULL, error_message = $4,
    error_traceback = $5
WHERE r.id = $1 AND r.attempt = $2 AND r.training_status = 'running' AND r.attempt < r.max_attempts
RETURNING {columns}

-- name: hand_back
-- $1 id, $2 attempt, $3 now: a worker that shuts down has not used its attempt. One more is allowed instead of
-- counting back: the attempt's number is the fence, and must never be given out twice
UPDATE {schema}.model_training_history r
SET training_status = 'pending', run_after = $3, lease_until = NULL, worker = NULL, max_attempts = r.max_attempts + 1
WHERE r.id = $1 AND r.attempt = $2 AND r.training_status = 'running'
RETURNING {columns}

-- name: hand_back_unheard
-- $1 worker, $2 times of its claims that it was not answered, $3 now, $4 ids that it holds: what they have taken, which
-- nobody works on. The time tells them from other claims, also from those of a worker with the same name
UPDATE {schema}.model_training_history r
SET training_status = 'pending', run_after = $3, lease_until = NULL, worker = NULL, max_attempts = r.max_attempts + 1
WHERE r.training_status = 'running' AND r.worker = $1 AND r.training_start = ANY ($2::text[]::timestamptz[])
    AND r.id <> ALL ($4::text[]::uuid[])

-- name: hand_over
-- $1 id, $2 attempt, $3 lease_until, $4 external_id: the other engine may have reported before this says who it is
UPDATE {schema}.model_training_history r
SET metadata = r.metadata || jsonb_build_object('external_id', $4::text),
    lease_until = CASE r.training_status WHEN 'running' THEN greatest(r.lease_until, $3) ELSE r.lease_until END,
    run_after = CASE r.training_status WHEN 'running' THEN greatest(r.run_after, $3) ELSE r.run_after END
WHERE r.id = $1 AND r.attempt = $2
RETURNING {columns}

-- name: cancel
-- $1 id, $2 now, $3 reason
UPDATE {schema}.model_training_history r
SET training_status = 'cancelled', training_end = $2, lease_until = NULL, error_message = $3
WHERE r.id = $1 AND r.training_status IN ('pending', 'running')
RETURNING {columns}

-- name: fetch_run
-- $1 id
SELECT {columns} FROM {schema}.model_training_history r WHERE r.id = $1

-- name: fetch_wish
-- $1 alert_id, $2 machine_id, $3 model_type, $4 run; wanted_by = the alert that asked for the run, and the open ones for
-- which it was enough that the run was open, where their rule wants its version tested
SELECT ARRAY(
        SELECT a.id::text FROM {schema}.model_alerts a
        WHERE a.auto_action ->> 'start_ab_test' = 'true' AND (a.id = $1 OR (
            a.machine_id = $2 AND a.model_type = $3 AND NOT a.is_resolved AND a.auto_action ->> 'run_id' = $4::uuid::text))
        ORDER BY a.id) AS wanted_by,
    EXISTS (SELECT FROM {schema}.model_ab_tests t WHERE t.training_run_id = $4) AS is_tested,
    EXISTS (SELECT FROM {schema}.model_automation s
        WHERE s.machine_id = $2 AND s.model_type = $3 AND NOT s.is_enabled) AS is_switched_off

-- name: list_runs
-- $1 and $2 created_at and id before which the page starts (newest first), $3 limit
SELECT {columns} FROM {schema}.model_training_history r
WHERE (r.created_at, r.id) < ($1, $2)
-- filters
ORDER BY r.created_at DESC, r.id DESC
LIMIT $3

-- name: usual_duration
(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.duration)
FROM (
    SELECT r.training_end - r.training_start AS duration FROM {schema}.model_training_history r
    WHERE r.machine_id = $1 AND r.model_type = $2 AND r.training_status = 'completed'
        AND r.training_end >= r.training_start
    ORDER BY r.created_at DESC LIMIT 20
) d) AS duration

-- name: fetch_usual_duration
-- $1 machine_id, $2 model_type: the median of the slot's last 20 completed runs, NULL where there is none
SELECT {usual_duration}

-- name: fetch_outlook
-- $1 machine_id, $2 model_type: that, and when a worker that trains the model type was seen last, as in list_sightings
SELECT {usual_duration}, w.seen_at, w.working_at
FROM (
    SELECT max(k.seen_at) AS seen_at, max(k.seen_at) FILTER (WHERE k.stopped_at IS NULL) AS working_at
    FROM {schema}.model_workers k WHERE $2 = ANY (k.model_types)
) w
