-- Versions of agents, and what an agent says first and how it takes turns.

ALTER TABLE agents ADD COLUMN greeting text NOT NULL DEFAULT '';
-- {eagerness, interruptible, idle_ms}, as the agent's owner set it.
ALTER TABLE agents ADD COLUMN turn_taking jsonb NOT NULL DEFAULT '{}';
ALTER TABLE agents ADD COLUMN version int NOT NULL DEFAULT 1 CHECK (version > 0);

-- A row for each change of an agent. None is ever changed; they go with their agent.
CREATE TABLE agent_versions (
    id           text COLLATE "C" NOT NULL UNIQUE,
    workspace_id text COLLATE "C" NOT NULL,
    agent_id     text COLLATE "C" NOT NULL,
    number       int NOT NULL CHECK (number > 0),
    config       jsonb NOT NULL,               -- what can be set; the secrets of its tools are sealed
    by_kind      text NOT NULL CHECK (by_kind IN ('api_key', 'user', 'page', 'server')),
    by_id        text COLLATE "C",
    note         text NOT NULL,
    restores     int,                          -- the number of the version that was made again
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, number),
    FOREIGN KEY (workspace_id, agent_id) REFERENCES agents (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX agent_versions_agent ON agent_versions (workspace_id, agent_id, number);

INSERT INTO agent_versions
    (id, workspace_id, agent_id, number, config, by_kind, note, created_at)
SELECT 'ver_' || substr(id, strpos(id, '_') + 1), workspace_id, id, 1,
    jsonb_build_object('name', name, 'system_prompt', system_prompt, 'model', model,
        'tts_model', tts_model, 'voice', voice, 'language', language, 'tools', tools,
        'recording', recording, 'greeting', greeting, 'turn_taking', turn_taking),
    'server', '', updated_at
FROM agents;

-- The version with which a call, or a turn of one, began; NULL: it was before there were versions.
ALTER TABLE calls ADD COLUMN agent_version int;
ALTER TABLE turns ADD COLUMN agent_version int;
