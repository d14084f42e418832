-- Accounts, agents and calls. Needs Postgres 15 or later (SET NULL of single columns).
--
-- Identifiers are made by store/ids.py and compared byte by byte. Every table of tenant data
-- carries workspace_id, and its references are compound: the database itself refuses a row
-- that points into another workspace.

CREATE TABLE users (
    id            text COLLATE "C" PRIMARY KEY,
    email         text NOT NULL,
    name          text NOT NULL DEFAULT '',
    password_hash text,                          -- argon2id; NULL: cannot sign in with one
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE workspaces (
    id         text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE memberships (
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    user_id      text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE api_keys (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    created_by   text COLLATE "C" REFERENCES users ON DELETE SET NULL,
    name         text NOT NULL,
    prefix       text NOT NULL,                  -- what is shown of the key, never enough to use it
    digest       bytea NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of the key
    scopes       text[] NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_workspace ON api_keys (workspace_id, id);

CREATE TABLE agents (
    id            text COLLATE "C" PRIMARY KEY,
    workspace_id  text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    name          text NOT NULL,
    system_prompt text NOT NULL,
    model         text NOT NULL,
    tts_model     text NOT NULL,
    voice         text NOT NULL,
    language      text,                          -- NULL: whatever the caller speaks
    is_default    boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id)
);
CREATE UNIQUE INDEX agents_default ON agents (workspace_id) WHERE is_default;

CREATE TABLE calls (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    agent_id     text COLLATE "C",
    node_id      text COLLATE "C" NOT NULL,      -- the process that carries it
    channel      text NOT NULL,
    config       jsonb NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    end_reason   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, agent_id) REFERENCES agents (workspace_id, id)
        ON DELETE SET NULL (agent_id),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX calls_agent ON calls (workspace_id, agent_id);
CREATE INDEX calls_open ON calls (node_id) WHERE ended_at IS NULL;

CREATE TABLE turns (
    id                text COLLATE "C" PRIMARY KEY,
    workspace_id      text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    call_id           text COLLATE "C" NOT NULL,
    agent_id          text COLLATE "C",
    number            int NOT NULL,              -- of the caller's utterance within the call
    user_text         text NOT NULL,
    reply_text        text NOT NULL,             -- all that was generated
    heard_text        text NOT NULL,             -- the prefix of it that the caller heard
    interrupted       boolean NOT NULL,
    status            text NOT NULL
        CHECK (status IN ('completed', 'cancelled', 'incomplete', 'failed')),
    endpointing_ms    int,                       -- NULL: the stage did not happen
    stt_ms            int,
    llm_ms            int,
    tts_ms            int,
    gateway_ms        int,
    total_ms          int,
    prompt_tokens     int NOT NULL DEFAULT 0,
    completion_tokens int NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (workspace_id, call_id) REFERENCES calls (workspace_id, id) ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, agent_id) REFERENCES agents (workspace_id, id)
        ON DELETE SET NULL (agent_id)
);
CREATE INDEX turns_call ON turns (workspace_id, call_id, number, id);
CREATE INDEX turns_agent ON turns (workspace_id, agent_id, id);
