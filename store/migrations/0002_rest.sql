-- The REST platform: jobs, objects, voices, projects, webhooks, usage, idempotency.
--
-- As in 0001: identifiers are made by store/ids.py, tenant data carries workspace_id, and
-- references between tenant data are compound. What a job made goes with it (ON DELETE CASCADE);
-- the bytes in the object store are deleted by the one who deletes the row.

CREATE TABLE projects (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    name         text NOT NULL,
    description  text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id)
);

CREATE TABLE jobs (
    id               text COLLATE "C" PRIMARY KEY,
    workspace_id     text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    type             text NOT NULL CHECK (type IN
        ('tts', 'stt', 'voice_clone', 'dubbing', 'batch', 'webhook', 'cleanup')),
    status           text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    progress         int NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    input            jsonb NOT NULL,
    output           jsonb,
    error            jsonb,                      -- {code, message, details}
    parent_id        text COLLATE "C",           -- the batch that this is an item of
    item_index       int,                        -- its place in the batch, from 0
    runs             int NOT NULL DEFAULT 0,     -- how often a worker began it
    cancel_requested boolean NOT NULL DEFAULT false,
    started_at       timestamptz,
    finished_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    UNIQUE (workspace_id, parent_id, item_index),
    FOREIGN KEY (workspace_id, parent_id) REFERENCES jobs (workspace_id, id) ON DELETE CASCADE,
    CHECK ((parent_id IS NULL) = (item_index IS NULL)),
    CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
CREATE INDEX jobs_list ON jobs (workspace_id, id DESC) WHERE parent_id IS NULL;
CREATE INDEX jobs_active ON jobs (updated_at) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- What happened to a job, for its event stream; goes with the job.
CREATE TABLE job_events (
    workspace_id text COLLATE "C" NOT NULL,
    job_id       text COLLATE "C" NOT NULL,
    sequence     int NOT NULL,                   -- from 1, without holes
    event        text NOT NULL CHECK (event IN ('progress', 'completed', 'failed', 'cancelled')),
    data         jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, sequence),
    FOREIGN KEY (workspace_id, job_id) REFERENCES jobs (workspace_id, id) ON DELETE CASCADE
);

-- What lies in the object store. The key begins with the workspace's id.
CREATE TABLE objects (
    key          text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN
        ('upload', 'sample', 'source', 'artifact', 'preview', 'turn')),
    job_id       text COLLATE "C",               -- the job that made it or consumes it
    content_type text NOT NULL,
    filename     text NOT NULL,                  -- as it is offered for download
    size_bytes   bigint NOT NULL,
    duration_ms  bigint,
    details      jsonb NOT NULL DEFAULT '{}',    -- what was found out when it was taken in
    created_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (workspace_id, job_id) REFERENCES jobs (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX objects_job ON objects (workspace_id, job_id);
CREATE INDEX objects_loose ON objects (created_at) WHERE job_id IS NULL;

-- The reply's audio, of turns that came as recordings.
ALTER TABLE turns ADD COLUMN audio_key text COLLATE "C" REFERENCES objects (key)
    ON DELETE SET NULL;
CREATE INDEX turns_audio ON turns (audio_key) WHERE audio_key IS NOT NULL;

CREATE TABLE voices (
    id                text COLLATE "C" PRIMARY KEY,
    workspace_id      text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    name              text NOT NULL,
    source_type       text NOT NULL CHECK (source_type IN ('cloned', 'imported')),
    provider_voice_id text NOT NULL,
    model             text NOT NULL,
    language          text,
    recipe            jsonb NOT NULL,            -- what the engine needs to speak with it
    similarity        real,                      -- cosine to the sample, of the speaker encoder
    sample_key        text COLLATE "C" REFERENCES objects (key) ON DELETE SET NULL,
    preview_key       text COLLATE "C" REFERENCES objects (key) ON DELETE SET NULL,
    consent_by        text NOT NULL,             -- user or API key that gave it
    consent_at        timestamptz NOT NULL,
    job_id            text COLLATE "C" UNIQUE,   -- the clone job; one voice a job
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, job_id) REFERENCES jobs (workspace_id, id)
        ON DELETE SET NULL (job_id)
);
CREATE INDEX voices_list ON voices (workspace_id, id DESC);

CREATE TABLE webhooks (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    url          text NOT NULL,
    events       text[] NOT NULL,
    enabled      boolean NOT NULL DEFAULT true,
    secret       text NOT NULL,                  -- whsec_…, needed in clear to sign
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, id)
);
CREATE INDEX webhooks_list ON webhooks (workspace_id, id DESC);

-- One attempt to deliver one event to one endpoint.
CREATE TABLE webhook_deliveries (
    id              text COLLATE "C" PRIMARY KEY,
    workspace_id    text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    webhook_id      text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL,   -- the Webhook-Id: the same in every attempt
    event           text NOT NULL,
    attempt         int NOT NULL,                -- from 1
    status          text NOT NULL CHECK (status IN ('delivered', 'failed')),
    response_status int,
    error           text,
    duration_ms     int NOT NULL,
    next_attempt_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, webhook_id, event_id, attempt),
    FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (workspace_id, webhook_id, id DESC);

-- One row per unit of work that is billed; ``unit`` names the work, so it is billed once.
CREATE TABLE usage_events (
    id           text COLLATE "C" PRIMARY KEY,
    workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    unit         text NOT NULL,
    type         text NOT NULL,
    model        text NOT NULL,
    tokens       bigint NOT NULL DEFAULT 0 CHECK (tokens >= 0),
    audio_ms     bigint NOT NULL DEFAULT 0 CHECK (audio_ms >= 0),
    cost         numeric(18, 8) NOT NULL DEFAULT 0 CHECK (cost >= 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, unit)
);
CREATE INDEX usage_list ON usage_events (workspace_id, id DESC);
CREATE INDEX usage_day ON usage_events (workspace_id, created_at);

-- The first answer to a request with an Idempotency-Key, kept for 24 hours.
CREATE TABLE idempotency_keys (
    workspace_id  text COLLATE "C" NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    route         text NOT NULL,                 -- method and pattern of the path
    key           bytea NOT NULL,                -- SHA-256 of the client's key
    fingerprint   bytea NOT NULL,                -- SHA-256 of the request's content
    claimed_by    text NOT NULL,                 -- request id of the one that does the work
    claimed_until timestamptz NOT NULL,          -- then another may take it over
    answer        bytea,                         -- sealed; NULL: still being worked on
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, route, key)
);
CREATE INDEX idempotency_age ON idempotency_keys (created_at);

-- What the server itself must remember: secrets made at the first start, shared by all nodes.
CREATE TABLE server_secrets (
    name       text PRIMARY KEY,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
