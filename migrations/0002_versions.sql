-- A finished job can be run again from any stage with other options. Each such
-- run is a version; what it does not make anew it takes over from the version before.
CREATE TABLE versions (
    job_id        TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    version       INTEGER NOT NULL,              -- from 1
    first_stage   TEXT    NOT NULL,              -- this stage and those after it were run for this version
    options       TEXT    NOT NULL,              -- JSON
    created_ms    INTEGER NOT NULL,
    PRIMARY KEY (job_id, version)
) STRICT, WITHOUT ROWID;

INSERT INTO versions (job_id, version, first_stage, options, created_ms)
SELECT id, 1, 'transcribe_audio', options, created_ms FROM jobs;

ALTER TABLE jobs DROP COLUMN options;
ALTER TABLE jobs ADD COLUMN version INTEGER NOT NULL DEFAULT 1;       -- the newest
ALTER TABLE jobs ADD COLUMN prompt_bytes INTEGER NOT NULL DEFAULT 0;  -- size of the prompt's file

-- What back-pressure counts; stays small however long the history.
CREATE INDEX jobs_queued ON jobs (id) WHERE state = 'queued';
-- What retention looks for.
CREATE INDEX jobs_finished ON jobs (finished_ms) WHERE finished_ms IS NOT NULL;

DROP INDEX stage_runs_queued;
ALTER TABLE stage_runs RENAME TO old_stage_runs;
CREATE TABLE stage_runs (
    job_id        TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    version       INTEGER NOT NULL,
    stage         TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    attempt       INTEGER NOT NULL DEFAULT 0,    -- how often it was started
    turn_ms       INTEGER NOT NULL,              -- when its job was queued: first come, first served
    due_ms        INTEGER NOT NULL,              -- not to be started before this
    started_ms    INTEGER,
    finished_ms   INTEGER,
    timing        TEXT,                          -- JSON, once succeeded
    error         TEXT,                          -- JSON, why the last attempt failed while another is to come
    PRIMARY KEY (job_id, version, stage)
) STRICT, WITHOUT ROWID;
INSERT INTO stage_runs
SELECT r.job_id, 1, r.stage, r.state, r.attempt, j.created_ms, r.due_ms, r.started_ms, r.finished_ms, r.timing, NULL
FROM old_stage_runs r JOIN jobs j ON j.id = r.job_id;
DROP TABLE old_stage_runs;

-- What the workers look for, in the order in which they take it.
CREATE INDEX stage_runs_queued ON stage_runs (turn_ms, job_id) WHERE state = 'queued';

ALTER TABLE artifacts RENAME TO old_artifacts;
CREATE TABLE artifacts (
    job_id        TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    version       INTEGER NOT NULL,
    stage         TEXT    NOT NULL,
    file          TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    sha256        TEXT    NOT NULL,
    duration_ms   INTEGER,                       -- of audio
    PRIMARY KEY (job_id, version, stage)
) STRICT, WITHOUT ROWID;
INSERT INTO artifacts
SELECT job_id, 1, stage, file, media_type, size_bytes, sha256, duration_ms FROM old_artifacts;
DROP TABLE old_artifacts;
