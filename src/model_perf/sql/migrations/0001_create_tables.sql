-- Tables of model_perf: deployments, evaluations, chart states, training runs, A/B tests, alerts.
-- {schema} is replaced by the quoted name of the schema. Nothing here depends on search_path.

CREATE TABLE {schema}.models (
    model_id          uuid        NOT NULL,
    model_version     integer     NOT NULL,
    machine_id        uuid        NOT NULL,
    model_type        text        NOT NULL,
    machine_name      text,
    version_label     text,
    training_data_end timestamptz,
    first_seen_at     timestamptz NOT NULL,
    metadata          jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT models_pkey PRIMARY KEY (model_id, model_version, machine_id),
    CONSTRAINT models_version_not_negative CHECK (model_version >= 0)
);
CREATE INDEX models_slot ON {schema}.models (machine_id, model_type);
COMMENT ON TABLE {schema}.models IS 'A row per deployment: a version of a model that serves a machine';

-- A model_id belongs to one model_type, whoever writes. No unique index can say so over several rows; the
-- lock makes two first sights of a model wait for each other, and the look comes after it.
CREATE FUNCTION {schema}.models_check_type() RETURNS trigger LANGUAGE plpgsql AS $model_perf$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.model_id::text, 7307));
    IF EXISTS (SELECT FROM {schema}.models m
               WHERE m.model_id = NEW.model_id AND m.model_type <> NEW.model_type) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'exclusion_violation',
            CONSTRAINT = 'models_one_type_per_model',
            MESSAGE = format('model %s is known with another model_type than %s', NEW.model_id, NEW.model_type);
    END IF;
    RETURN NEW;
END $model_perf$;
CREATE TRIGGER models_check_type BEFORE INSERT ON {schema}.models
    FOR EACH ROW EXECUTE FUNCTION {schema}.models_check_type();

-- The key comes first and in this order: it serves the latest evaluation, a window and the baseline with one
-- index, and it is what partitioning asks for. A further index would cost 10 to 25% of ingestion.
CREATE TABLE {schema}.model_performance_metrics (
    model_id          uuid        NOT NULL,
    model_version     integer     NOT NULL,
    machine_id        uuid        NOT NULL,
    evaluation_date   timestamptz NOT NULL,
    id                uuid        NOT NULL,
    model_type        text        NOT NULL,
    evaluation_start  timestamptz NOT NULL,
    evaluation_end    timestamptz NOT NULL,
    sample_count      bigint,
    data_completeness float8,
    r_squared         float8,
    rmse              float8,
    mae               float8,
    mape              float8,
    precision         float8,
    recall            float8,
    f1_score          float8,
    metrics           jsonb       NOT NULL DEFAULT '{}',
    drift_detected    boolean,
    drift_score       float8,
    drift_threshold   float8,
    drift_details     jsonb       NOT NULL DEFAULT '{}',
    verdict           text        NOT NULL DEFAULT 'not_judged',
    created_by        text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    metadata          jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_performance_metrics_pkey
        PRIMARY KEY (model_id, model_version, machine_id, evaluation_date, id),
    CONSTRAINT model_performance_metrics_window CHECK (evaluation_end > evaluation_start),
    CONSTRAINT model_performance_metrics_sample_count CHECK (sample_count >= 0),
    CONSTRAINT model_performance_metrics_completeness CHECK (data_completeness BETWEEN 0 AND 1),
    CONSTRAINT model_performance_metrics_verdict
        CHECK (verdict IN ('ok', 'warning', 'critical', 'insufficient_data', 'not_judged'))
);
COMMENT ON TABLE {schema}.model_performance_metrics IS 'A row per evaluation of a deployment on a window [start, end)';
COMMENT ON COLUMN {schema}.model_performance_metrics.metrics IS 'Metrics without a column of their own, by name';
COMMENT ON COLUMN {schema}.model_performance_metrics.drift_detected IS
    'True for the verdict critical; NULL where nothing could be said';
COMMENT ON COLUMN {schema}.model_performance_metrics.drift_score IS
    'Largest relative degradation among the judged metrics: 0.12 = 12% worse than the baseline';

CREATE TABLE {schema}.model_drift_state (
    model_id      uuid    NOT NULL,
    model_version integer NOT NULL,
    machine_id    uuid    NOT NULL,
    detector      text    NOT NULL,
    version       integer NOT NULL,
    state         jsonb   NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    metadata      jsonb   NOT NULL DEFAULT '{}',
    CONSTRAINT model_drift_state_pkey PRIMARY KEY (model_id, model_version, machine_id, detector)
) WITH (fillfactor = 50);
COMMENT ON TABLE {schema}.model_drift_state IS
    'Baseline sums and chart of a deployment; version is the compare-and-set of its writers';

CREATE TABLE {schema}.model_training_history (
    id                      uuid        NOT NULL,
    model_type              text        NOT NULL,
    machine_id              uuid        NOT NULL,
    model_id                uuid,
    model_version           integer,
    training_status         text        NOT NULL,
    trigger_type            text        NOT NULL,
    triggered_by            text,
    reason                  text,
    training_start          timestamptz,
    training_end            timestamptz,
    training_data_start     timestamptz,
    training_data_end       timestamptz,
    sample_count            bigint,
    performance_improvement float8,
    hyperparameters         jsonb       NOT NULL DEFAULT '{}',
    feature_names           text[]      NOT NULL DEFAULT '{}',
    training_metrics        jsonb       NOT NULL DEFAULT '{}',
    validation_metrics      jsonb       NOT NULL DEFAULT '{}',
    attempt                 integer     NOT NULL DEFAULT 0,
    max_attempts            integer     NOT NULL DEFAULT 3,
    run_after               timestamptz NOT NULL,
    lease_until             timestamptz,
    worker                  text,
    progress                float8,
    error_message           text,
    error_traceback         text,
    created_at              timestamptz NOT NULL,
    metadata                jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_training_history_pkey PRIMARY KEY (id),
    CONSTRAINT model_training_history_status
        CHECK (training_status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT model_training_history_trigger_type
        CHECK (trigger_type IN ('manual', 'scheduled', 'drift', 'degradation')),
    CONSTRAINT model_training_history_sample_count CHECK (sample_count >= 0),
    CONSTRAINT model_training_history_attempt CHECK (attempt BETWEEN 0 AND max_attempts),
    CONSTRAINT model_training_history_progress CHECK (progress BETWEEN 0 AND 1)
);
CREATE UNIQUE INDEX model_training_history_one_open ON {schema}.model_training_history (machine_id, model_type)
    WHERE training_status IN ('pending', 'running');
CREATE INDEX model_training_history_due ON {schema}.model_training_history (run_after)
    WHERE training_status IN ('pending', 'running');
CREATE INDEX model_training_history_slot ON {schema}.model_training_history (machine_id, model_type, created_at);
COMMENT ON TABLE {schema}.model_training_history IS 'A row per training run; at most one open run per machine and model type';

CREATE TABLE {schema}.model_ab_tests (
    id              uuid        NOT NULL,
    test_name       text        NOT NULL,
    model_type      text        NOT NULL,
    machine_id      uuid        NOT NULL,
    model_a_id      uuid        NOT NULL,
    model_a_version integer     NOT NULL,
    model_b_id      uuid        NOT NULL,
    model_b_version integer     NOT NULL,
    test_start      timestamptz NOT NULL,
    test_end        timestamptz NOT NULL,
    test_status     text        NOT NULL,
    traffic_split   float8      NOT NULL,
    design          jsonb       NOT NULL DEFAULT '{}',
    winner_model    text,
    winner_metrics  jsonb       NOT NULL DEFAULT '{}',
    decision        text,
    decision_reason text,
    decided_at      timestamptz,
    decided_by      text,
    created_by      text,
    created_at      timestamptz NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_ab_tests_pkey PRIMARY KEY (id),
    CONSTRAINT model_ab_tests_two_models
        CHECK ((model_a_id, model_a_version) <> (model_b_id, model_b_version)),
    CONSTRAINT model_ab_tests_window CHECK (test_end > test_start),
    CONSTRAINT model_ab_tests_traffic_split CHECK (traffic_split > 0 AND traffic_split < 1),
    CONSTRAINT model_ab_tests_status CHECK (test_status IN ('planned', 'running', 'completed', 'cancelled')),
    CONSTRAINT model_ab_tests_winner CHECK (winner_model IN ('model_a', 'model_b', 'no_winner')),
    CONSTRAINT model_ab_tests_decision CHECK (decision IN
        ('superior_a', 'superior_b', 'equivalent', 'undecided', 'invalid', 'insufficient_data'))
);
CREATE UNIQUE INDEX model_ab_tests_one_running ON {schema}.model_ab_tests (machine_id, model_type)
    WHERE test_status = 'running';
CREATE INDEX model_ab_tests_newest ON {schema}.model_ab_tests (test_start, id);
COMMENT ON TABLE {schema}.model_ab_tests IS 'A row per comparison of two versions; traffic_split is the share of model_b';

CREATE TABLE {schema}.model_alerts (
    id                    uuid        NOT NULL,
    alert_type            text        NOT NULL,
    severity              text        NOT NULL,
    severity_rank         smallint    NOT NULL GENERATED ALWAYS AS
        (CASE severity WHEN 'critical' THEN 3 WHEN 'warning' THEN 2 ELSE 1 END) STORED,
    model_type            text        NOT NULL,
    machine_id            uuid        NOT NULL,
    model_id              uuid,
    model_version         integer,
    fingerprint           text        NOT NULL,
    alert_message         text        NOT NULL,
    alert_timestamp       timestamptz NOT NULL,
    last_seen_at          timestamptz NOT NULL,
    occurrences           integer     NOT NULL DEFAULT 1,
    alert_details         jsonb       NOT NULL DEFAULT '{}',
    current_metric_value  float8,
    threshold_value       float8,
    baseline_metric_value float8,
    is_resolved           boolean     NOT NULL DEFAULT false,
    resolved_timestamp    timestamptz,
    resolution            text,
    resolved_by           text,
    resolution_notes      text,
    acknowledged_at       timestamptz,
    acknowledged_by       text,
    snoozed_until         timestamptz,
    auto_action_taken     boolean     NOT NULL DEFAULT false,
    auto_action           jsonb       NOT NULL DEFAULT '{}',
    metadata              jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_alerts_pkey PRIMARY KEY (id),
    CONSTRAINT model_alerts_severity CHECK (severity IN ('info', 'warning', 'critical')),
    CONSTRAINT model_alerts_occurrences CHECK (occurrences >= 1),
    CONSTRAINT model_alerts_resolution
        CHECK (resolution IN ('recovered', 'retrained', 'false_positive', 'manual')),
    CONSTRAINT model_alerts_resolved CHECK (is_resolved = (resolved_timestamp IS NOT NULL))
);
CREATE UNIQUE INDEX model_alerts_one_open ON {schema}.model_alerts (fingerprint) WHERE NOT is_resolved;
CREATE INDEX model_alerts_inbox ON {schema}.model_alerts (severity_rank DESC, alert_timestamp DESC, id DESC)
    WHERE NOT is_resolved;
CREATE INDEX model_alerts_slot ON {schema}.model_alerts (machine_id, model_type, alert_timestamp);
COMMENT ON TABLE {schema}.model_alerts IS 'A row per alert; at most one open alert per fingerprint, repeats are counted';
