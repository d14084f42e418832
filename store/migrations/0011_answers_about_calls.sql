-- Which call a kept answer is about, so that it is erased with the call.
ALTER TABLE idempotency_keys ADD COLUMN call_id text COLLATE "C";
CREATE INDEX idempotency_calls ON idempotency_keys (workspace_id, call_id)
    WHERE call_id IS NOT NULL;
