-- A job: one recorded prompt and what becomes of it.
CREATE TABLE jobs (
    id            TEXT    PRIMARY KEY NOT NULL,  -- UUIDv7
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    created_ms    INTEGER NOT NULL,              -- all times: milliseconds since the Unix epoch
    started_ms    INTEGER,
    finished_ms   INTEGER,
    prompt_file   TEXT    NOT NULL,              -- file name in the job's folder
    prompt_name   TEXT,                          -- what the sender called the file; shown, never opened
    prompt_type   TEXT    NOT NULL,              -- media type
    prompt_ms     INTEGER,                       -- length, where the container tells
    options       TEXT    NOT NULL,              -- JSON
    failed_stage  TEXT,
    error_code    TEXT,
    error_message TEXT
) STRICT;

-- One row a stage of a job, made when the stage becomes due.
CREATE TABLE stage_runs (
    job_id        TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    stage         TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    attempt       INTEGER NOT NULL DEFAULT 0,    -- how often it was started
    due_ms        INTEGER NOT NULL,
    started_ms    INTEGER,
    finished_ms   INTEGER,
    timing        TEXT,                          -- JSON, once succeeded
    PRIMARY KEY (job_id, stage)
) STRICT, WITHOUT ROWID;

-- What the worker looks for; stays small however long the history.
CREATE INDEX stage_runs_queued ON stage_runs (job_id) WHERE state = 'queued';

-- What a stage made. The file lies in the job's folder; it is written, synced
-- and renamed before its row is.
CREATE TABLE artifacts (
    job_id        TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    stage         TEXT    NOT NULL,
    file          TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    sha256        TEXT    NOT NULL,
    duration_ms   INTEGER,                       -- of audio
    PRIMARY KEY (job_id, stage)
) STRICT, WITHOUT ROWID;
