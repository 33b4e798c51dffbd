-- Workers that train: a row each, which says when it was last seen.

-- name: start
-- $1 worker, $2 model_types, $3 now
INSERT INTO {schema}.model_workers AS w (worker, model_types, started_at, seen_at)
VALUES ($1, $2, $3, $3)
ON CONFLICT (worker) DO UPDATE
SET model_types = excluded.model_types, started_at = excluded.started_at, seen_at = excluded.seen_at, stopped_at = NULL

-- name: stop
-- $1 worker, $2 now
UPDATE {schema}.model_workers w SET seen_at = $2, stopped_at = $2 WHERE w.worker = $1

-- name: list_sightings
-- $1 model_types: when a worker for each was seen last, NULL where none was: any, and one that has not said that it
-- stops. One that was killed never says so, and hides none that did
SELECT t.model_type, max(w.seen_at) AS seen_at, max(w.seen_at) FILTER (WHERE w.stopped_at IS NULL) AS working_at
FROM unnest($1::text[]) AS t (model_type)
LEFT JOIN {schema}.model_workers w ON t.model_type = ANY (w.model_types)
GROUP BY t.model_type

-- name: list_workers
-- $1 seen since
SELECT w.worker, w.model_types, w.started_at, w.seen_at, w.stopped_at
FROM {schema}.model_workers w WHERE w.seen_at >= $1
ORDER BY w.seen_at DESC, w.worker
