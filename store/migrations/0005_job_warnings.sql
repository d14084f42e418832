-- What a job accepted but could not do in full: [{code, message, path}], written with its end.

ALTER TABLE jobs ADD COLUMN warnings jsonb NOT NULL DEFAULT '[]';
