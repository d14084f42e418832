-- Simulations: calls of simulated callers to a version of an agent, and what came of each.

CREATE TABLE simulations (
    id               text COLLATE "C" PRIMARY KEY,
    workspace_id     text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    agent_id         text COLLATE "C" NOT NULL,   -- which may have been deleted since
    agent_version    int NOT NULL,
    agent_name       text NOT NULL,
    source           text,                        -- the scenarios as TOML; NULL: they came as JSON
    scenarios        jsonb NOT NULL,
    recordings       jsonb NOT NULL,              -- keys of objects, by their names in the scenarios
    repeat           int NOT NULL CHECK (repeat > 0),
    at_once          int NOT NULL CHECK (at_once > 0),
    calls            int NOT NULL CHECK (calls > 0),
    status           text NOT NULL DEFAULT 'queued'
                     CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    summary          jsonb NOT NULL DEFAULT '{}', -- figures of the calls that have ended
    error            jsonb,                       -- {code, message}
    cancel_requested boolean NOT NULL DEFAULT false,
    revision         int NOT NULL DEFAULT 1,      -- of what is shown; grows with each change
    attempt          int NOT NULL DEFAULT 0,      -- guards what a process writes that was overtaken
    leased_until     timestamptz,                 -- until when the process that makes the calls has them
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    UNIQUE (workspace_id, id)
);
CREATE INDEX simulations_of_agent ON simulations (workspace_id, agent_id, id);
CREATE INDEX simulations_active ON simulations (id) WHERE status IN ('queued', 'running');

CREATE TABLE simulated_calls (
    workspace_id  text COLLATE "C" NOT NULL,
    simulation_id text COLLATE "C" NOT NULL,
    position      int NOT NULL,
    scenario      text NOT NULL,
    repetition    int NOT NULL,
    status        text NOT NULL DEFAULT 'waiting'
                  CHECK (status IN ('waiting', 'calling', 'passed', 'failed', 'not_made')),
    call_id       text COLLATE "C",
    report        jsonb,                          -- its lines and checks, once it has ended
    PRIMARY KEY (simulation_id, position),
    FOREIGN KEY (workspace_id, simulation_id) REFERENCES simulations (workspace_id, id)
        ON DELETE CASCADE
);
CREATE INDEX simulated_calls_of ON simulated_calls (workspace_id, simulation_id, position);

-- What callers say from recordings.
ALTER TABLE objects DROP CONSTRAINT objects_kind_check;
ALTER TABLE objects ADD CONSTRAINT objects_kind_check CHECK (kind IN
    ('upload', 'sample', 'source', 'artifact', 'preview', 'turn', 'recording', 'line'));
