-- The three views that boards read. New columns go to the end only.

CREATE VIEW {schema}.v_latest_model_performance AS
SELECT DISTINCT ON (m.machine_id, m.model_type)
    m.machine_id, m.model_type, names.machine_name, m.model_id, m.model_version, m.version_label,
    e.id, e.evaluation_date, e.evaluation_start, e.evaluation_end, e.sample_count, e.data_completeness,
    e.r_squared, e.rmse, e.mae, e.mape, e.precision, e.recall, e.f1_score, e.metrics,
    e.verdict, e.drift_detected, e.drift_score, e.drift_threshold
FROM {schema}.models m
-- One index probe per deployment; DISTINCT ON over the evaluations would read them all. Of equal dates the largest id
-- is shown, which is the last recorded where the library makes the ids.
CROSS JOIN LATERAL (
    SELECT p.id, p.evaluation_date, p.evaluation_start, p.evaluation_end, p.sample_count, p.data_completeness,
           p.r_squared, p.rmse, p.mae, p.mape, p.precision, p.recall, p.f1_score, p.metrics,
           p.verdict, p.drift_detected, p.drift_score, p.drift_threshold
    FROM {schema}.model_performance_metrics p
    WHERE p.model_id = m.model_id AND p.model_version = m.model_version AND p.machine_id = m.machine_id
    ORDER BY p.evaluation_date DESC, p.id DESC
    LIMIT 1
) e
LEFT JOIN LATERAL (
    SELECT max(n.machine_name) AS machine_name FROM {schema}.models n WHERE n.machine_id = m.machine_id
) names ON true
ORDER BY m.machine_id, m.model_type, e.evaluation_date DESC, m.model_version DESC, e.id DESC;
COMMENT ON VIEW {schema}.v_latest_model_performance IS 'The newest evaluation per machine and model type';

CREATE VIEW {schema}.v_active_ab_tests AS
SELECT t.id, t.test_name, t.model_type, t.machine_id, names.machine_name,
       t.model_a_id, t.model_a_version, t.model_b_id, t.model_b_version,
       t.test_start, t.test_end, t.traffic_split,
       (EXTRACT(EPOCH FROM now() - t.test_start) / 3600)::float8 AS elapsed_hours,
       a.n AS evaluations_a, b.n AS evaluations_b
FROM {schema}.model_ab_tests t
LEFT JOIN LATERAL (
    SELECT max(m.machine_name) AS machine_name FROM {schema}.models m WHERE m.machine_id = t.machine_id
) names ON true
CROSS JOIN LATERAL (
    SELECT count(DISTINCT (p.evaluation_start, p.evaluation_end)) AS n FROM {schema}.model_performance_metrics p
    WHERE p.model_id = t.model_a_id AND p.model_version = t.model_a_version AND p.machine_id = t.machine_id
      AND p.evaluation_date >= t.test_start AND p.sample_count IS DISTINCT FROM 0
      AND p.evaluation_start >= t.test_start AND p.evaluation_end <= t.test_end
) a
CROSS JOIN LATERAL (
    SELECT count(DISTINCT (p.evaluation_start, p.evaluation_end)) AS n FROM {schema}.model_performance_metrics p
    WHERE p.model_id = t.model_b_id AND p.model_version = t.model_b_version AND p.machine_id = t.machine_id
      AND p.evaluation_date >= t.test_start AND p.sample_count IS DISTINCT FROM 0
      AND p.evaluation_start >= t.test_start AND p.evaluation_end <= t.test_end
) b
WHERE t.test_status = 'running';
COMMENT ON VIEW {schema}.v_active_ab_tests IS
    'Running A/B tests with their elapsed hours and the windows that each model was evaluated on so far';

CREATE VIEW {schema}.v_unresolved_model_alerts AS
SELECT a.id, a.alert_type, a.severity, a.model_type, a.machine_id, names.machine_name,
       a.model_id, a.model_version, a.alert_message, a.alert_timestamp, a.last_seen_at, a.occurrences,
       a.alert_details, a.current_metric_value, a.threshold_value, a.baseline_metric_value,
       a.acknowledged_at, a.acknowledged_by, a.snoozed_until, a.auto_action_taken,
       (EXTRACT(EPOCH FROM now() - a.alert_timestamp) / 3600)::float8 AS age_hours
FROM {schema}.model_alerts a
LEFT JOIN LATERAL (
    SELECT max(m.machine_name) AS machine_name FROM {schema}.models m WHERE m.machine_id = a.machine_id
) names ON true
WHERE NOT a.is_resolved
ORDER BY a.severity_rank DESC, a.alert_timestamp DESC, a.id DESC;
COMMENT ON VIEW {schema}.v_unresolved_model_alerts IS 'Open alerts, worst and newest first';
