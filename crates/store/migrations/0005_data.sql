-- How long a user keeps conversations that nobody goes on with; null for ever. Searches and archives need no more than
-- the indexes that are there.
ALTER TABLE users ADD COLUMN retention_days INTEGER CHECK (retention_days BETWEEN 1 AND 3650);
