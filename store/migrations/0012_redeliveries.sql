-- Which job made an attempt to deliver an event, and which delivery a redelivery repeats.
ALTER TABLE webhook_deliveries ADD COLUMN job_id text COLLATE "C";
ALTER TABLE webhook_deliveries ADD COLUMN repeats text COLLATE "C";
UPDATE webhook_deliveries SET job_id = jobs.id FROM jobs
    WHERE jobs.workspace_id = webhook_deliveries.workspace_id AND jobs.type = 'webhook'
    AND jobs.input ->> 'webhookId' = webhook_deliveries.webhook_id
    AND jobs.input ->> 'eventId' = webhook_deliveries.event_id;
