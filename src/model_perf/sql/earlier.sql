-- The earlier installation: what it has, and its rows into our tables. Its own tables, whose schema a caller names, are
-- read by statements that `repos/_earlier_source.py` quotes.

-- name: list_tables
-- $1 schema, $2 names of tables: what is there under these names, and column by column what it is made of
SELECT c.relname::text AS name, c.oid::text AS oid, c.relkind::text AS kind, c.relrowsecurity AS has_policies,
    pg_catalog.to_regclass(pg_catalog.format('%I.%I', n.nspname, c.relname || '_imported')) IS NOT NULL AS was_renamed,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', a.attname, 'type', t.typname, 'category', t.typcategory, 'composite', t.typtype = 'c',
            'quoted_type', pg_catalog.format('%I.%I', tn.nspname, t.typname),
            'labels', (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
                       FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid))
        ORDER BY a.attnum)::text
     FROM pg_catalog.pg_attribute a
     JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
     JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')

-- name: register_deployments
-- $1 rows of model_performance_metrics with their machine_name, $2 now; a name fills in one that was unknown
INSERT INTO {schema}.models AS m (model_id, model_version, machine_id, model_type, machine_name, first_seen_at)
SELECT DISTINCT ON (n.model_id, n.model_version, n.machine_id)
    n.model_id, n.model_version, n.machine_id, n.model_type, n.machine_name, $2
FROM jsonb_to_recordset($1::text::jsonb) AS n (
    model_id uuid, model_version integer, machine_id uuid, model_type text, machine_name text)
WHERE NOT EXISTS (
    SELECT FROM {schema}.models k
    WHERE k.model_id = n.model_id AND k.model_version = n.model_version AND k.machine_id = n.machine_id
        AND k.model_type = n.model_type AND coalesce(k.machine_name, n.machine_name, '') = coalesce(k.machine_name, ''))
ORDER BY n.model_id, n.model_version, n.machine_id
ON CONFLICT (model_id, model_version, machine_id) DO UPDATE
SET machine_name = excluded.machine_name
WHERE m.machine_name IS NULL

-- name: find_moved
-- $1 rows of model_performance_metrics: one that is here under another date
SELECT n.id::text AS id, n.evaluation_date AS now_dated, e.evaluation_date AS dated
FROM jsonb_to_recordset($1::text::jsonb) AS n (
    model_id uuid, model_version integer, machine_id uuid, evaluation_date timestamptz, id uuid)
JOIN {schema}.model_performance_metrics e
    ON e.model_id = n.model_id AND e.model_version = n.model_version AND e.machine_id = n.machine_id AND e.id = n.id
WHERE e.evaluation_date <> n.evaluation_date
LIMIT 1

-- name: insert_evaluations
-- $1 rows
WITH new AS (
    INSERT INTO {schema}.model_performance_metrics
        (model_id, model_version, machine_id, evaluation_date, id, model_type, evaluation_start, evaluation_end,
         sample_count, data_completeness, r_squared, rmse, mae, mape, precision, recall, f1_score, metrics,
         drift_details, verdict, created_by, created_at, metadata)
    SELECT n.model_id, n.model_version, n.machine_id, n.evaluation_date, n.id, n.model_type, n.evaluation_start,
        n.evaluation_end, n.sample_count, n.data_completeness, n.r_squared, n.rmse, n.mae, n.mape, n.precision,
        n.recall, n.f1_score, n.metrics, n.drift_details, n.verdict, n.created_by, n.created_at, n.metadata
    FROM jsonb_populate_recordset(NULL::{schema}.model_performance_metrics, $1::text::jsonb) AS n
    ORDER BY n.model_id, n.model_version, n.machine_id, n.evaluation_date, n.id
    ON CONFLICT (model_id, model_version, machine_id, evaluation_date, id) DO NOTHING
    RETURNING id
)
SELECT count(*) FROM new

-- name: insert_training_runs
-- $1 rows
WITH new AS (
    INSERT INTO {schema}.model_training_history
        (id, model_type, machine_id, model_id, model_version, training_status, trigger_type, triggered_by,
         training_start, training_end, training_data_start, training_data_end, sample_count, performance_improvement,
         hyperparameters, feature_names, training_metrics, validation_metrics, attempt, max_attempts, run_after,
         progress, error_message, error_traceback, created_at, metadata)
    SELECT n.id, n.model_type, n.machine_id, n.model_id, n.model_version, n.training_status, n.trigger_type,
        n.triggered_by, n.training_start, n.training_end, n.training_data_start, n.training_data_end, n.sample_count,
        n.performance_improvement, n.hyperparameters, n.feature_names, n.training_metrics, n.validation_metrics,
        n.attempt, n.max_attempts, n.run_after, n.progress, n.error_message, n.error_traceback, n.created_at, n.metadata
    FROM jsonb_populate_recordset(NULL::{schema}.model_training_history, $1::text::jsonb) AS n
    ORDER BY n.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
SELECT count(*) FROM new

-- name: insert_tests
-- $1 rows
WITH new AS (
    INSERT INTO {schema}.model_ab_tests
        (id, test_name, model_type, machine_id, model_a_id, model_a_version, model_b_id, model_b_version, test_start,
         test_end, test_status, traffic_split, design, winner_model, winner_metrics, decision, decision_reason,
         decided_at, decided_by, created_by, created_at, metadata)
    SELECT n.id, n.test_name, n.model_type, n.machine_id, n.model_a_id, n.model_a_version, n.model_b_id,
        n.model_b_version, n.test_start, n.test_end, n.test_status, n.traffic_split, n.design, n.winner_model,
        n.winner_metrics, n.decision, n.decision_reason, n.decided_at, n.decided_by, n.created_by, n.created_at,
        n.metadata
    FROM jsonb_populate_recordset(NULL::{schema}.model_ab_tests, $1::text::jsonb) AS n
    ORDER BY n.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
SELECT count(*) FROM new

-- name: insert_alerts
-- $1 rows
WITH new AS (
    INSERT INTO {schema}.model_alerts
        (id, alert_type, severity, model_type, machine_id, fingerprint, alert_message, alert_timestamp, last_seen_at,
         occurrences, alert_details, current_metric_value, threshold_value, baseline_metric_value, is_resolved,
         resolved_timestamp, resolution, resolved_by, resolution_notes, auto_action_taken, auto_action, metadata)
    SELECT n.id, n.alert_type, n.severity, n.model_type, n.machine_id, n.fingerprint, n.alert_message,
        n.alert_timestamp, n.last_seen_at, n.occurrences, n.alert_details, n.current_metric_value, n.threshold_value,
        n.baseline_metric_value, n.is_resolved, n.resolved_timestamp, n.resolution, n.resolved_by, n.resolution_notes,
        n.auto_action_taken, n.auto_action, n.metadata
    FROM jsonb_populate_recordset(NULL::{schema}.model_alerts, $1::text::jsonb) AS n
    ORDER BY n.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
SELECT count(*) FROM new

-- name: list_grants
-- $1 oids of tables and views: the statements that let the same roles read what has their names next
SELECT pg_catalog.format('GRANT SELECT%s ON %I.%I TO %s%s',
    CASE WHEN g.column_name IS NULL THEN '' ELSE pg_catalog.format(' (%I)', g.column_name) END, n.nspname, c.relname,
    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
    CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS statement
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT NULL::name AS column_name, x.grantee, x.privilege_type, x.is_grantable
    FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) x
    UNION ALL
    SELECT a.attname, x.grantee, x.privilege_type, x.is_grantable
    FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) g
WHERE c.oid = ANY ($1::text[]::oid[]) AND g.privilege_type = 'SELECT'

-- name: list_dependents
-- $1 oids of tables: the views on them and on each other, those first that others stand on
WITH RECURSIVE above (oid, depth) AS (
    SELECT t.oid::oid, 0 FROM unnest($1::text[]) AS t (oid)
    UNION
    SELECT r.ev_class, above.depth + 1
    FROM above
    JOIN pg_catalog.pg_depend d ON d.refobjid = above.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
    WHERE r.ev_class <> above.oid
)
SELECT c.oid::text AS oid, c.relkind::text AS kind, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
    EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
        OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1') AS is_writable,
    CASE WHEN c.reloptions IS NULL THEN ''
        ELSE pg_catalog.format(' WITH (%s)', pg_catalog.array_to_string(c.reloptions, ', ')) END AS options,
    pg_catalog.pg_get_viewdef(c.oid) AS definition,
    pg_catalog.quote_literal(pg_catalog.obj_description(c.oid, 'pg_class')) AS comment,
    CASE WHEN pg_catalog.pg_get_userbyid(c.relowner) <> current_user
        THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) END AS owner
FROM above
JOIN pg_catalog.pg_class c ON c.oid = above.oid AND c.relkind IN ('v', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
GROUP BY c.oid, n.nspname
ORDER BY max(above.depth), c.oid
