-- The reference profiles that windows of data are compared with, and what was found.

CREATE TABLE {schema}.model_reference_profiles (
    model_id      uuid        NOT NULL,
    model_version integer     NOT NULL,
    machine_id    uuid        NOT NULL,
    segment       text        NOT NULL DEFAULT '',
    id            uuid        NOT NULL,
    model_type    text        NOT NULL,
    profile       bytea       NOT NULL,
    n_rows        bigint      NOT NULL,
    n_columns     integer     NOT NULL,
    created_by    text,
    created_at    timestamptz NOT NULL,
    metadata      jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_reference_profiles_pkey PRIMARY KEY (model_id, model_version, machine_id, segment)
);
COMMENT ON TABLE {schema}.model_reference_profiles IS
    'A row per deployment and segment: counts of the data that its windows are compared with, without its rows';
COMMENT ON COLUMN {schema}.model_reference_profiles.profile IS 'Versioned binary form, read by DatasetProfile.from_bytes';

CREATE TABLE {schema}.model_drift_reports (
    model_id       uuid        NOT NULL,
    model_version  integer     NOT NULL,
    machine_id     uuid        NOT NULL,
    segment        text        NOT NULL DEFAULT '',
    id             uuid        NOT NULL,
    model_type     text        NOT NULL,
    reference_id   uuid        NOT NULL,
    window_start   timestamptz,
    window_end     timestamptz NOT NULL,
    verdict        text        NOT NULL,
    drift_detected boolean,
    pvalue         float8,
    n_reference    bigint      NOT NULL,
    n_current      bigint      NOT NULL,
    n_columns      integer     NOT NULL,
    n_drifted      integer     NOT NULL,
    alarm_value    float8      NOT NULL,
    alarm_limit    float8      NOT NULL,
    report         jsonb       NOT NULL,
    created_by     text,
    created_at     timestamptz NOT NULL,
    metadata       jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT model_drift_reports_pkey PRIMARY KEY (model_id, model_version, machine_id, segment, id),
    CONSTRAINT model_drift_reports_window CHECK (window_end > window_start),
    CONSTRAINT model_drift_reports_verdict
        CHECK (verdict IN ('ok', 'warning', 'critical', 'insufficient_data', 'not_judged'))
);
CREATE INDEX model_drift_reports_newest ON {schema}.model_drift_reports
    (model_id, model_version, machine_id, segment, window_end, created_at);
COMMENT ON TABLE {schema}.model_drift_reports IS 'A row per window of data that was compared with a reference';
COMMENT ON COLUMN {schema}.model_drift_reports.drift_detected IS
    'Some column has changed, certainly and enough to matter; NULL where nothing could be said';
COMMENT ON COLUMN {schema}.model_drift_reports.alarm_value IS
    'What windows have added up to; an alert is opened at alarm_limit';
