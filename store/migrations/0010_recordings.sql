-- Recordings of calls: what agents want, the parts of each, and the search over what was said.

-- {enabled, consent, keep_days}, as the agent's owner set it.
ALTER TABLE agents ADD COLUMN recording jsonb NOT NULL DEFAULT '{}';

-- A call that is resumed has a part for each connection. The row is written when a part begins; it
-- has a duration once its files are stored. A part without one is missing when its call has ended.
CREATE TABLE recordings (
    workspace_id text COLLATE "C" NOT NULL,
    call_id      text COLLATE "C" NOT NULL,
    number       int NOT NULL CHECK (number > 0),
    begins_ms    bigint NOT NULL,              -- its place in the call
    stored       boolean NOT NULL DEFAULT false,
    duration_ms  bigint,                       -- NULL: not stored, or its writer was killed
    complete     boolean NOT NULL DEFAULT false,
    expires_at   timestamptz,                  -- as the agent wanted; NULL: no sooner than others
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (call_id, number),
    FOREIGN KEY (workspace_id, call_id) REFERENCES calls (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX recordings_call ON recordings (workspace_id, call_id, number);
CREATE INDEX recordings_expiry ON recordings (expires_at) WHERE expires_at IS NOT NULL;

-- The files of a recording go with their call.
ALTER TABLE objects DROP CONSTRAINT objects_kind_check;
ALTER TABLE objects ADD CONSTRAINT objects_kind_check CHECK (kind IN
    ('upload', 'sample', 'source', 'artifact', 'preview', 'turn', 'recording'));
ALTER TABLE objects ADD COLUMN call_id text COLLATE "C";
ALTER TABLE objects ADD CONSTRAINT objects_call FOREIGN KEY (workspace_id, call_id)
    REFERENCES calls (workspace_id, id) ON DELETE CASCADE;
CREATE INDEX objects_of_call ON objects (workspace_id, call_id) WHERE call_id IS NOT NULL;
DROP INDEX objects_loose;
CREATE INDEX objects_loose ON objects (created_at) WHERE job_id IS NULL AND call_id IS NULL;

-- What was said and answered, word by word, in any language.
CREATE INDEX turns_words ON turns USING gin (to_tsvector('simple', user_text || ' ' || reply_text));
