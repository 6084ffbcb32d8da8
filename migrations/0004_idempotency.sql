-- Keys by which clients make sure that a recording sent twice becomes one job.
CREATE TABLE idempotency_keys (
    key          TEXT    NOT NULL PRIMARY KEY,
    job_id       TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    fingerprint  TEXT    NOT NULL                -- SHA-256 of the recording and the options
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_job ON idempotency_keys (job_id);
