-- Agents on other web pages: an embed is what may be published of one, with its limits.

CREATE TABLE embeds (
    id               text COLLATE "C" PRIMARY KEY,  -- public: it stands in the page
    workspace_id     text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    agent_id         text COLLATE "C" NOT NULL,
    name             text NOT NULL,
    origins          text[] NOT NULL,               -- the pages that may use it
    calls_per_minute int NOT NULL CHECK (calls_per_minute > 0),  -- of one address
    max_calls        int NOT NULL CHECK (max_calls > 0),         -- at a time
    max_call_minutes int NOT NULL CHECK (max_call_minutes > 0),
    minutes_per_day  int NOT NULL CHECK (minutes_per_day > 0),
    enabled          boolean NOT NULL,
    choices          text[] NOT NULL,               -- what a visitor may choose: voice, language
    texts            jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, agent_id) REFERENCES agents (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX embeds_agent ON embeds (workspace_id, agent_id, id);

-- Visitors of such pages: each waits for a call, gets a key for it, calls, and has called. Nothing
-- here says who they are. Rows are deleted when nothing is counted from them any more.
CREATE TABLE embed_visits (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    embed_id     text COLLATE "C" NOT NULL,
    seconds      int,                               -- what its call may last; NULL: it waits
    expires_at   timestamptz NOT NULL,              -- of the wait, or of the key
    call_id      text COLLATE "C",
    started_at   timestamptz,
    ended_at     timestamptz,                       -- if the record of the call does not say it
    created_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (workspace_id, embed_id) REFERENCES embeds (workspace_id, id) ON DELETE CASCADE,
    CHECK ((call_id IS NULL) = (started_at IS NULL))
);
CREATE INDEX embed_visits_embed ON embed_visits (workspace_id, embed_id, id);
CREATE INDEX embed_visits_call ON embed_visits (workspace_id, call_id) WHERE call_id IS NOT NULL;
