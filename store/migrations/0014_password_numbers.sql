-- Which password of its user's a sign-in was made with: a new password ends those of the one before.
ALTER TABLE users ADD COLUMN password_number int NOT NULL DEFAULT 1 CHECK (password_number > 0);
