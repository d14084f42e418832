-- Erasure on request: everything kept of one call, or of one caller.

-- Who called: a keyed digest, by which the caller's calls are found again, and nothing else.
ALTER TABLE calls ADD COLUMN caller bytea;
CREATE INDEX calls_caller ON calls (workspace_id, caller, id) WHERE caller IS NOT NULL;

-- What was requested and done; it outlives what was erased, and so has no content.
CREATE TABLE erasures (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    job_id       text COLLATE "C",
    call_id      text COLLATE "C",               -- NULL: all calls of the caller
    caller       bytea,                          -- NULL: one call, or it is done
    requested_by text NOT NULL,                  -- user or API key
    calls        int NOT NULL DEFAULT 0,         -- how many were erased
    turns        int NOT NULL DEFAULT 0,
    recordings   int NOT NULL DEFAULT 0,
    finished_at  timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, job_id) REFERENCES jobs (workspace_id, id)
        ON DELETE SET NULL (job_id),
    CHECK (finished_at IS NOT NULL OR (call_id IS NULL) <> (caller IS NULL))
);
