-- The store of one tablet, version 1. syncer/PROTOCOL.md says what records, lanes and receipts are.
-- Hashes and ids are raw bytes. Times are milliseconds since 1970 by the tablet's clock; nothing is decided by them.

-- meta has one row: who this tablet is, and what it knows of its server.
CREATE TABLE meta (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  -- 16 random bytes, chosen when the store is made.
  device BLOB NOT NULL CHECK (length(device) = 16),
  -- Ed25519: the 32 bytes the private key is made of, and the public key to see that they are undamaged.
  seed BLOB NOT NULL CHECK (length(seed) = 32),
  public_key BLOB NOT NULL CHECK (length(public_key) = 32),
  -- Given by people: "tablet-03", the enumerator's code, the code of the study.
  name TEXT NOT NULL,
  enumerator TEXT NOT NULL,
  study TEXT NOT NULL,
  -- The lane written to now. A store that finds itself restored or cloned takes a new one.
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  -- The server's key, pinned at the first Hello, and the epoch of its log when last met.
  server_key BLOB CHECK (length(server_key) = 32),
  server_epoch BLOB CHECK (length(server_epoch) = 16),
  -- hearth.service.v1.Cursor: how far the server's records have been pulled.
  cursor BLOB,
  last_sync_ms INTEGER
) STRICT;

-- draft is an interview that is still being filled in; it is overwritten at every answer.
CREATE TABLE draft (
  interview_id TEXT PRIMARY KEY,
  -- hearth.survey.v1.Interview, and the record digest of these bytes to see damage.
  body BLOB NOT NULL,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  saved_ms INTEGER NOT NULL
) STRICT;

-- record is what this tablet has written, for ever.
CREATE TABLE record (
  n INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
  kind INTEGER NOT NULL,
  subject TEXT NOT NULL,
  -- Digests of the revisions this one replaces, one after the other.
  parents BLOB NOT NULL CHECK (length(parents) % 32 = 0),
  -- The partition, as a signed number with the same bits.
  part INTEGER NOT NULL,
  questionnaire TEXT NOT NULL,
  -- hearth.survey.v1.InterviewStatus.
  status INTEGER NOT NULL,
  -- SHA-256 of the payload, so that the same interview loaded again is known.
  payload_sha256 BLOB NOT NULL CHECK (length(payload_sha256) = 32),
  size INTEGER NOT NULL,
  written_ms INTEGER NOT NULL,
  -- The exact bytes that were hashed; NULL after pruning.
  body BLOB
) STRICT;
CREATE INDEX record_subject ON record (subject);

-- lane_entry is a record's place in an outgoing lane.
CREATE TABLE lane_entry (
  n INTEGER PRIMARY KEY,
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  seq INTEGER NOT NULL CHECK (seq > 0),
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  chain BLOB NOT NULL CHECK (length(chain) = 32),
  UNIQUE (epoch, seq)
) STRICT;
CREATE INDEX lane_entry_digest ON lane_entry (digest);

-- receipt is the server's signed proof that it holds a lane up to seq. It is written only if the signature verifies
-- and chain is this store's chain hash at seq.
CREATE TABLE receipt (
  n INTEGER PRIMARY KEY,
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  seq INTEGER NOT NULL CHECK (seq > 0),
  chain BLOB NOT NULL CHECK (length(chain) = 32),
  time_ms INTEGER NOT NULL,
  keeper BLOB NOT NULL CHECK (length(keeper) = 32),
  signature BLOB NOT NULL CHECK (length(signature) = 64),
  UNIQUE (epoch, seq, time_ms)
) STRICT;

-- answer is what the server said of one entry that was not plainly stored.
CREATE TABLE answer (
  n INTEGER PRIMARY KEY,
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  seq INTEGER NOT NULL CHECK (seq > 0),
  -- 3 quarantined: the server keeps it, a person decides. 4 refused: the record's bytes were not taken, so no receipt
  -- over this entry covers them.
  outcome INTEGER NOT NULL CHECK (outcome IN (3, 4)),
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  UNIQUE (epoch, seq, outcome)
) STRICT;

-- pulled is what headquarters wrote: studies, decisions, revisions.
CREATE TABLE pulled (
  n INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
  kind INTEGER NOT NULL,
  subject TEXT NOT NULL,
  parents BLOB NOT NULL CHECK (length(parents) % 32 = 0),
  part INTEGER NOT NULL,
  status INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX pulled_subject ON pulled (subject);

-- What was written stays. A record's body alone may go, and only under a receipt.
CREATE TRIGGER record_kept BEFORE DELETE ON record BEGIN
  SELECT RAISE(ABORT, 'a record is never deleted');
END;
CREATE TRIGGER record_fixed BEFORE UPDATE ON record
WHEN NEW.body IS NOT NULL OR NEW.n IS NOT OLD.n OR NEW.id IS NOT OLD.id OR NEW.digest IS NOT OLD.digest
  OR NEW.kind IS NOT OLD.kind OR NEW.subject IS NOT OLD.subject OR NEW.parents IS NOT OLD.parents
  OR NEW.part IS NOT OLD.part OR NEW.questionnaire IS NOT OLD.questionnaire OR NEW.status IS NOT OLD.status
  OR NEW.payload_sha256 IS NOT OLD.payload_sha256 OR NEW.size IS NOT OLD.size OR NEW.written_ms IS NOT OLD.written_ms
BEGIN
  SELECT RAISE(ABORT, 'a record is never changed');
END;
CREATE TRIGGER record_pruned BEFORE UPDATE OF body ON record
WHEN NOT EXISTS (
  SELECT 1 FROM lane_entry AS e JOIN receipt AS r ON r.epoch = e.epoch AND r.seq >= e.seq
  WHERE e.digest = OLD.digest
    AND NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.epoch = e.epoch AND a.seq = e.seq AND a.outcome = 4))
BEGIN
  SELECT RAISE(ABORT, 'a record without a receipt keeps its body');
END;
CREATE TRIGGER lane_entry_kept BEFORE DELETE ON lane_entry BEGIN
  SELECT RAISE(ABORT, 'an entry of a lane is never deleted');
END;
CREATE TRIGGER lane_entry_fixed BEFORE UPDATE ON lane_entry BEGIN
  SELECT RAISE(ABORT, 'an entry of a lane is never changed');
END;
CREATE TRIGGER receipt_kept BEFORE DELETE ON receipt BEGIN
  SELECT RAISE(ABORT, 'a receipt is never deleted');
END;
CREATE TRIGGER receipt_fixed BEFORE UPDATE ON receipt BEGIN
  SELECT RAISE(ABORT, 'a receipt is never changed');
END;
