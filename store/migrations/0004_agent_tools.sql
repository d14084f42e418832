-- What an agent may call: HTTP tools and MCP servers, as the session's ``tools`` writes them.

ALTER TABLE agents ADD COLUMN tools jsonb NOT NULL DEFAULT '[]';
