-- What keeps the tables small, and what takes a machine or a model out of them.

-- name: take_turn
-- $1 schema: two prunes, or a prune and somebody who forgets, do their transactions one after the other
SELECT pg_advisory_xact_lock(hashtextextended('model_perf prune ' || $1, 7307))

-- name: list_deployments
-- $1 before; $2, $3, $4 model_id, model_version, machine_id after which the list goes on; $5 limit: those with an
-- evaluation older than that
SELECT m.model_id, m.model_version, m.machine_id
FROM {schema}.models m
WHERE (m.model_id, m.model_version, m.machine_id) > ($2, $3, $4) AND EXISTS (
    SELECT FROM {schema}.model_performance_metrics e
    WHERE e.model_id = m.model_id AND e.model_version = m.model_version AND e.machine_id = m.machine_id
        AND e.evaluation_date < $1)
ORDER BY m.model_id, m.model_version, m.machine_id
LIMIT $5

-- name: fetch_cutoff
-- $1 model_id, $2 model_version, $3 machine_id, $4 before, $5 how many of the newest evaluations stay; what a running A/B
-- test compares stays too
SELECT m.training_data_end, s.state::text AS state, least($4::timestamptz, newest.date, tested.start) AS cutoff,
    old.n AS n_old
FROM {schema}.models m
LEFT JOIN {schema}.model_drift_state s
    ON s.model_id = $1 AND s.model_version = $2 AND s.machine_id = $3 AND s.detector = 'performance'
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM {schema}.model_performance_metrics e
    WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3 AND e.evaluation_date < $4
) old
CROSS JOIN LATERAL (
    SELECT min(k.evaluation_date) AS date FROM (
        SELECT e.evaluation_date FROM {schema}.model_performance_metrics e
        WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3
        ORDER BY e.evaluation_date DESC LIMIT $5
    ) k
) newest
CROSS JOIN LATERAL (
    SELECT min(t.test_start) AS start FROM {schema}.model_ab_tests t
    WHERE t.test_status IN ('planned', 'running') AND t.machine_id = $3
        AND ($1, $2) IN ((t.model_a_id, t.model_a_version), (t.model_b_id, t.model_b_version))
) tested
WHERE m.model_id = $1 AND m.model_version = $2 AND m.machine_id = $3

-- name: list_old_evaluations
-- $1 model_id, $2 model_version, $3 machine_id, $4 cutoff: those dated before it, and later ones of the same windows;
-- as little of each as a chart is replayed from
SELECT e.model_id, e.model_version, e.machine_id, e.evaluation_date, e.id, e.model_type, e.evaluation_start,
    e.evaluation_end, e.sample_count, e.data_completeness, e.r_squared, e.rmse, e.mae, e.mape, e.precision, e.recall,
    e.f1_score, e.metrics::text AS metrics, e.drift_detected, e.drift_score, e.drift_threshold,
    jsonb_build_object()::text AS drift_details, e.verdict, e.created_by, e.created_at,
    jsonb_build_object()::text AS metadata
FROM {schema}.model_performance_metrics e
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3 AND (
    e.evaluation_date < $4 OR e.evaluation_end <= (
        SELECT max(p.evaluation_end) FROM {schema}.model_performance_metrics p
        WHERE p.model_id = $1 AND p.model_version = $2 AND p.machine_id = $3 AND p.evaluation_date < $4))
ORDER BY e.evaluation_date, e.created_at, e.id

-- name: delete_evaluations
-- $1 model_id, $2 model_version, $3 machine_id; arrays: $4 evaluation_date, $5 id
DELETE FROM {schema}.model_performance_metrics e
USING unnest($4::text[]::timestamptz[], $5::text[]::uuid[]) AS n (evaluation_date, id)
WHERE e.model_id = $1 AND e.model_version = $2 AND e.machine_id = $3
    AND e.evaluation_date = n.evaluation_date AND e.id = n.id
RETURNING e.id

-- name: is_old_report
d.window_end < $1 AND EXISTS (
    SELECT FROM {schema}.model_drift_reports later
    WHERE later.model_id = d.model_id AND later.model_version = d.model_version AND later.machine_id = d.machine_id
        AND later.segment = d.segment AND (later.window_end, later.created_at) > (d.window_end, d.created_at))

-- name: list_old_reports
-- $1 before; $2 to $6 the key after which the list goes on; $7 limit: the newest of each deployment and segment stays
SELECT d.model_id, d.model_version, d.machine_id, d.segment, d.id
FROM {schema}.model_drift_reports d
WHERE {is_old_report} AND (d.model_id, d.model_version, d.machine_id, d.segment, d.id) > ($2, $3, $4, $5, $6)
ORDER BY d.model_id, d.model_version, d.machine_id, d.segment, d.id
LIMIT $7

-- name: delete_reports
-- $1 before; arrays of text: $2 model_id, $3 model_version, $4 machine_id, $5 segment, $6 id
DELETE FROM {schema}.model_drift_reports d
USING unnest($2::text[]::uuid[], $3::text[]::integer[], $4::text[]::uuid[], $5::text[], $6::text[]::uuid[])
    AS n (model_id, model_version, machine_id, segment, id)
WHERE {is_old_report} AND d.model_id = n.model_id AND d.model_version = n.model_version
    AND d.machine_id = n.machine_id AND d.segment = n.segment AND d.id = n.id
RETURNING d.id

-- name: is_old_run
r.training_status IN ('completed', 'failed', 'cancelled') AND coalesce(r.training_end, r.created_at) < $1
-- The daily cap counts them.
AND r.created_at < $1::timestamptz - interval '24 hours'
-- The next round tells of failures that no later run has made good; cooldowns count from the newest run.
AND (r.training_status = 'cancelled' OR EXISTS (
    SELECT FROM {schema}.model_training_history later
    WHERE later.machine_id = r.machine_id AND later.model_type = r.model_type
        AND (later.training_status = 'completed'
            OR (later.training_status <> 'cancelled' AND r.failure_told_at IS NOT NULL))
        AND (later.created_at, later.id) > (r.created_at, r.id)))
AND NOT EXISTS (SELECT FROM {schema}.model_champions c WHERE c.training_run_id = r.id)
AND NOT EXISTS (SELECT FROM {schema}.model_ab_tests t WHERE t.training_run_id = r.id AND NOT ({is_old_test}))
AND NOT EXISTS (
    SELECT FROM {schema}.model_alerts o
    WHERE r.training_status = 'completed' AND {is_answered} AND o.machine_id = r.machine_id
        AND o.model_type = r.model_type AND o.alert_timestamp <= r.training_end)

-- name: list_old_runs
-- $1 before, $2 id after which the list goes on, $3 limit: of each machine and model type the newest run and the newest
-- completed one stay, what nobody was told of, and those that brought a version into service or into a test that stays, or
-- may answer an open alert
SELECT r.id FROM {schema}.model_training_history r
WHERE {is_old_run} AND r.id > $2
ORDER BY r.id
LIMIT $3

-- name: delete_runs
-- $1 before, $2 ids (array of text)
DELETE FROM {schema}.model_training_history r WHERE {is_old_run} AND r.id = ANY ($2::text[]::uuid[])
RETURNING r.id

-- name: is_old_test
t.test_status IN ('completed', 'cancelled') AND coalesce(t.decided_at, t.test_end) < $1
    -- Without the test that its version lost, a run would answer the open alert that asked for it.
    AND NOT EXISTS (
        SELECT FROM {schema}.model_alerts o
        WHERE t.training_run_id IS NOT NULL AND {is_answered} AND o.machine_id = t.machine_id
            AND o.model_type = t.model_type AND o.alert_timestamp <= coalesce(t.decided_at, t.test_end))

-- name: is_answered
-- As `list_retrained` looks for: a new version may answer it.
NOT o.is_resolved AND o.alert_type IN ('performance_degradation', 'data_drift')

-- name: list_old_batches
-- $1 before; $2, $3 test_id and batch_id after which the list goes on; $4 limit
SELECT b.test_id, b.batch_id
FROM {schema}.model_ab_batches b JOIN {schema}.model_ab_tests t ON t.id = b.test_id
WHERE {is_old_test} AND (b.test_id, b.batch_id) > ($2, $3)
ORDER BY b.test_id, b.batch_id
LIMIT $4

-- name: delete_batches
-- $1 before; arrays of text: $2 test_id, $3 batch_id
DELETE FROM {schema}.model_ab_batches b
USING unnest($2::text[]::uuid[], $3::text[]::uuid[]) AS n (test_id, batch_id), {schema}.model_ab_tests t
WHERE {is_old_test} AND t.id = n.test_id AND b.test_id = n.test_id AND b.batch_id = n.batch_id
RETURNING b.batch_id

-- name: list_old_looks
-- $1 before; $2, $3 test_id and look_at after which the list goes on; $4 limit
SELECT k.test_id, k.look_at
FROM {schema}.model_ab_looks k JOIN {schema}.model_ab_tests t ON t.id = k.test_id
WHERE {is_old_test} AND (k.test_id, k.look_at) > ($2, $3)
ORDER BY k.test_id, k.look_at
LIMIT $4

-- name: delete_looks
-- $1 before; arrays of text: $2 test_id, $3 look_at
DELETE FROM {schema}.model_ab_looks k
USING unnest($2::text[]::uuid[], $3::text[]::timestamptz[]) AS n (test_id, look_at), {schema}.model_ab_tests t
WHERE {is_old_test} AND t.id = n.test_id AND k.test_id = n.test_id AND k.look_at = n.look_at
RETURNING k.look_at

-- name: list_old_tests
-- $1 before, $2 id after which the list goes on, $3 limit
SELECT t.id FROM {schema}.model_ab_tests t
WHERE {is_old_test} AND t.id > $2
ORDER BY t.id
LIMIT $3

-- name: count_of_tests
-- $1 ids (array of text): what goes with them
SELECT (SELECT count(*) FROM {schema}.model_ab_moments s WHERE s.test_id = ANY ($1::text[]::uuid[])) AS model_ab_moments

-- name: delete_tests
-- $1 before, $2 ids (array of text)
DELETE FROM {schema}.model_ab_tests t WHERE {is_old_test} AND t.id = ANY ($2::text[]::uuid[])
RETURNING t.id

-- name: is_old_alert
a.is_resolved AND a.resolved_timestamp < $1
    -- A silence that somebody resolved by hand may last: without the row it would be told of again.
    AND (a.alert_type <> 'stale_model' OR a.resolution = 'recovered')
    -- Whether a run starts a test is written on the alert that asked for it.
    AND NOT EXISTS (
        SELECT FROM {schema}.model_training_history r
        WHERE r.alert_id = a.id AND r.training_status IN ('pending', 'running'))

-- name: list_old_alerts
-- $1 before, $2 id after which the list goes on, $3 limit; an open alert stays, however old
SELECT a.id FROM {schema}.model_alerts a
WHERE {is_old_alert} AND a.id > $2
ORDER BY a.id
LIMIT $3

-- name: count_of_alerts
-- $1 ids (array of text): what goes with them
SELECT count(DISTINCT v.id) AS model_alert_events, count(n.id) AS model_notifications
FROM {schema}.model_alert_events v LEFT JOIN {schema}.model_notifications n ON n.event_id = v.id
WHERE v.alert_id = ANY ($1::text[]::uuid[])

-- name: delete_alerts
-- $1 before, $2 ids (array of text)
DELETE FROM {schema}.model_alerts a WHERE {is_old_alert} AND a.id = ANY ($2::text[]::uuid[])
RETURNING a.id

-- name: is_old_notification
n.status IN ('delivered', 'dead', 'dropped') AND coalesce(n.delivered_at, n.run_after) < $1

-- name: list_old_notifications
-- $1 before, $2 id after which the list goes on, $3 limit: those of alerts that stay; what is pending stays too
SELECT n.id FROM {schema}.model_notifications n
WHERE {is_old_notification} AND n.id > $2 AND NOT EXISTS (
    SELECT FROM {schema}.model_alert_events v JOIN {schema}.model_alerts a ON a.id = v.alert_id
    WHERE v.id = n.event_id AND {is_old_alert})
ORDER BY n.id
LIMIT $3

-- name: delete_notifications
-- $1 before, $2 ids (array of text)
DELETE FROM {schema}.model_notifications n WHERE {is_old_notification} AND n.id = ANY ($2::text[]::uuid[])
RETURNING n.id

-- name: is_old_worker
-- One that was killed never said that it stops; one that works is seen every few seconds.
(w.stopped_at < $1 OR w.seen_at < $1::timestamptz - interval '1 day')

-- name: list_old_workers
-- $1 before, $2 worker after which the list goes on, $3 limit
SELECT w.worker FROM {schema}.model_workers w
WHERE {is_old_worker} AND w.worker > $2
ORDER BY w.worker
LIMIT $3

-- name: delete_workers
-- $1 before, $2 workers
DELETE FROM {schema}.model_workers w WHERE {is_old_worker} AND w.worker = ANY ($2::text[])
RETURNING w.worker

-- name: list_running_tests
-- $1 machine_id or model_id: the running tests that somebody who forgets it would end
SELECT t.id, t.test_name FROM {schema}.model_ab_tests t
WHERE t.test_status = 'running' AND $1 IN (t.machine_id, t.model_a_id, t.model_b_id)
ORDER BY t.test_start, t.id

-- name: own_schema
(SELECT t.relnamespace FROM pg_catalog.pg_class t WHERE t.reltype = pg_typeof(NULL::{schema}.schema_migrations)::oid)

-- name: list_tables
-- no parameters: sizes as the statistics have them, of every table of the schema
SELECT c.relname::text AS name, pg_total_relation_size(c.oid) AS n_bytes,
    CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS n_rows, s.n_live_tup AS n_live, s.n_dead_tup AS n_dead,
    greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed_at
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = {own_schema}
ORDER BY c.relname

-- name: count_alerts
-- no parameters
SELECT count(*) AS n_open, count(*) FILTER (WHERE a.severity = 'critical') AS n_critical,
    min(a.alert_timestamp) AS oldest_at
FROM {schema}.model_alerts a WHERE NOT a.is_resolved

-- name: count_notifications
-- $1 now
SELECT count(*) FILTER (WHERE n.status = 'pending') AS n_pending,
    count(*) FILTER (WHERE n.status = 'pending' AND n.run_after <= $1) AS n_due,
    min(n.run_after) FILTER (WHERE n.status = 'pending') AS oldest_at,
    count(*) FILTER (WHERE n.status = 'dead') AS n_dead,
    coalesce(bool_or(n.status = 'delivered'), false) AS is_anything_delivered
FROM {schema}.model_notifications n

-- name: count_runs
-- $1 now
SELECT count(*) FILTER (WHERE r.training_status = 'pending') AS n_pending,
    count(*) FILTER (WHERE r.training_status = 'running') AS n_running,
    count(*) FILTER (WHERE r.training_status = 'running' AND r.lease_until <= $1) AS n_expired,
    min(r.run_after) FILTER (WHERE r.training_status = 'pending' AND r.run_after <= $1) AS oldest_due_at,
    (SELECT max(w.seen_at) FROM {schema}.model_workers w WHERE w.stopped_at IS NULL) AS worker_seen_at
FROM {schema}.model_training_history r WHERE r.training_status IN ('pending', 'running')

-- name: count_tests
-- $1 now
SELECT count(*) AS n_running, min(t.test_end) FILTER (WHERE t.test_end <= $1) AS oldest_end
FROM {schema}.model_ab_tests t WHERE t.test_status = 'running'

-- name: count_deployments
-- $1 a moment: those that were known before it and have no evaluation are counted
SELECT count(*) AS n, count(*) FILTER (WHERE e.newest IS NULL AND m.first_seen_at < $1) AS n_silent,
    min(e.oldest) AS oldest_at, max(e.newest) AS newest_at
FROM {schema}.models m
CROSS JOIN LATERAL (
    SELECT min(p.evaluation_date) AS oldest, max(p.evaluation_date) AS newest
    FROM {schema}.model_performance_metrics p
    WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
) e

-- name: list_rights
-- no parameters: what this role may do with each table, and whether it is as good as the owner. may_forge: a trigger of its
-- own on any table, or that of the log on a table of its own, would write what it likes with the owner's rights
SELECT c.relname::text AS name, has_table_privilege(c.oid, 'SELECT') AS may_select,
    has_table_privilege(c.oid, 'INSERT') AS may_insert, has_table_privilege(c.oid, 'UPDATE') AS may_update,
    has_table_privilege(c.oid, 'DELETE') AS may_delete, pg_has_role(c.relowner, 'USAGE') AS is_owner,
    has_table_privilege(c.oid, 'TRIGGER') OR EXISTS (
        SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace = {own_schema} AND p.prosecdef
            AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AND has_function_privilege(p.oid, 'EXECUTE')) AS may_forge
FROM pg_catalog.pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = {own_schema}
ORDER BY c.relname

-- name: list_objects
-- no parameters: what the schema holds, and whether somebody has switched it off or never finished it
SELECT 'trigger'::text AS kind, g.tgname::text AS name, g.tgenabled IN ('D', 'R') AS is_broken
FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND c.relnamespace = {own_schema}
UNION ALL
SELECT CASE c.relkind WHEN 'i' THEN 'index' WHEN 'v' THEN 'view' ELSE 'table' END, c.relname::text,
    NOT coalesce(i.indisvalid, true)
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
WHERE c.relkind IN ('i', 'v', 'r', 'p') AND c.relnamespace = {own_schema}
ORDER BY kind, name
