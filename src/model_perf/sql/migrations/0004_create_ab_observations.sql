-- What A/B tests observed, as moments; the batches it came in; every look at it.

CREATE TABLE {schema}.model_ab_moments (
    test_id         uuid        NOT NULL,
    metric          text        NOT NULL,
    arm             text        NOT NULL,
    slot            integer     NOT NULL,
    n               bigint      NOT NULL,
    mean            float8      NOT NULL,
    mean_rest       float8      NOT NULL DEFAULT 0,
    m2              float8      NOT NULL,
    m3              float8      NOT NULL,
    covariate_mean  float8,
    covariate_m2    float8,
    covariate_cross float8,
    updated_at      timestamptz NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_ab_moments_pkey PRIMARY KEY (test_id, metric, arm, slot),
    CONSTRAINT model_ab_moments_test FOREIGN KEY (test_id) REFERENCES {schema}.model_ab_tests (id) ON DELETE CASCADE,
    CONSTRAINT model_ab_moments_arm CHECK (arm IN ('a', 'b', 'd'))
) WITH (fillfactor = 50);
COMMENT ON TABLE {schema}.model_ab_moments IS
    'Count, mean and central moments of the observations of a test, by metric, arm and slot; no observation is kept';
COMMENT ON COLUMN {schema}.model_ab_moments.arm IS 'a, b, or d: the differences b - a of paired observations';
COMMENT ON COLUMN {schema}.model_ab_moments.mean_rest IS 'What rounding took from the mean as batches were merged';
COMMENT ON COLUMN {schema}.model_ab_moments.slot IS
    'Of arms a and b: the unit''s (0 to 255), or 256 and above without units; of d: the part of the planned time';

CREATE TABLE {schema}.model_ab_batches (
    test_id    uuid        NOT NULL,
    batch_id   uuid        NOT NULL,
    n          bigint      NOT NULL,
    is_late    boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    metadata   jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_ab_batches_pkey PRIMARY KEY (test_id, batch_id),
    CONSTRAINT model_ab_batches_test FOREIGN KEY (test_id) REFERENCES {schema}.model_ab_tests (id) ON DELETE CASCADE
);
CREATE INDEX model_ab_batches_late ON {schema}.model_ab_batches (test_id) WHERE is_late;
COMMENT ON TABLE {schema}.model_ab_batches IS 'The batches of observations that are in, so that a repeat counts nothing twice';

CREATE TABLE {schema}.model_ab_looks (
    test_id             uuid        NOT NULL,
    look_at             timestamptz NOT NULL,
    n_a                 bigint      NOT NULL,
    n_b                 bigint      NOT NULL,
    decision            text        NOT NULL,
    reason              text        NOT NULL,
    effect              float8,
    standard_error      float8,
    confidence_low      float8,
    confidence_high     float8,
    pvalue              float8,
    sample_ratio_pvalue float8,
    metadata            jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_ab_looks_pkey PRIMARY KEY (test_id, look_at),
    CONSTRAINT model_ab_looks_test FOREIGN KEY (test_id) REFERENCES {schema}.model_ab_tests (id) ON DELETE CASCADE,
    CONSTRAINT model_ab_looks_decision CHECK (decision IN
        ('superior_a', 'superior_b', 'equivalent', 'undecided', 'invalid', 'insufficient_data'))
);
COMMENT ON TABLE {schema}.model_ab_looks IS 'A row per look at a test that saw observations the look before had not';
COMMENT ON COLUMN {schema}.model_ab_looks.confidence_low IS
    'With confidence_high: where the intervals of all looks so far overlap';
COMMENT ON COLUMN {schema}.model_ab_looks.pvalue IS 'The smallest of all looks so far';

CREATE OR REPLACE VIEW {schema}.v_active_ab_tests AS
SELECT t.id, t.test_name, t.model_type, t.machine_id, names.machine_name,
       t.model_a_id, t.model_a_version, t.model_b_id, t.model_b_version,
       t.test_start, t.test_end, t.traffic_split,
       (EXTRACT(EPOCH FROM now() - t.test_start) / 3600)::float8 AS elapsed_hours,
       a.n AS evaluations_a, b.n AS evaluations_b,
       o.n_a AS observations_a, o.n_b AS observations_b
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
CROSS JOIN LATERAL (
    SELECT coalesce(sum(s.n) FILTER (WHERE s.arm = 'a'), 0)::bigint AS n_a,
           coalesce(sum(s.n) FILTER (WHERE s.arm = 'b'), 0)::bigint AS n_b
    FROM {schema}.model_ab_moments s
    WHERE s.test_id = t.id AND s.metric = t.design ->> 'metric'
) o
WHERE t.test_status = 'running';
COMMENT ON VIEW {schema}.v_active_ab_tests IS
    'Running A/B tests with their elapsed hours, the windows that each model was evaluated on so far, and their observations';
