-- A hub reads records by their digests alone, to forward them. Its log is that of a team, so the index costs little.
CREATE INDEX IF NOT EXISTS record_digest ON record (digest);
