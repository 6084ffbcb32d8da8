-- What can be searched in: the texts that stages made. They go with their artifact.
CREATE TABLE texts (
    id            INTEGER PRIMARY KEY NOT NULL,
    job_id        TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    stage         TEXT    NOT NULL,
    text          TEXT    NOT NULL,
    UNIQUE (job_id, version, stage),
    FOREIGN KEY (job_id, version, stage) REFERENCES artifacts (job_id, version, stage)
        ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;

CREATE VIRTUAL TABLE text_index USING fts5 (
    text, content = 'texts', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

CREATE TRIGGER texts_inserted AFTER INSERT ON texts BEGIN
    INSERT INTO text_index (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER texts_deleted AFTER DELETE ON texts BEGIN
    INSERT INTO text_index (text_index, rowid, text) VALUES ('delete', old.id, old.text);
END;
