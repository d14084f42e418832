-- How long each workspace keeps what it stores, in days; NULL: as long as the server says.

CREATE TABLE retention (
    workspace_id    text COLLATE "C" PRIMARY KEY REFERENCES workspaces ON DELETE CASCADE,
    calls_days      int CHECK (calls_days > 0),       -- calls with their turns
    recordings_days int CHECK (recordings_days > 0),  -- audio and other files of turns and jobs
    jobs_days       int CHECK (jobs_days > 0),        -- finished jobs with everything they made
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- Calls that were deleted lately: a node that has files of such a call deletes them.
CREATE TABLE deleted_calls (
    call_id    text COLLATE "C" PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deleted_calls_age ON deleted_calls (created_at);
