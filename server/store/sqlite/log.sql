-- log.sqlite: the truth of a server. Everything else is derived from it.
-- Integers that are unsigned elsewhere (part) are kept as the signed integer of the same 64 bits.
-- `sum` in every table is CRC-32C over the other columns, so that a byte that changed on disk is seen where no digest,
-- chain or signature covers it.

-- The one row about the log itself.
CREATE TABLE meta (
  one        INTEGER PRIMARY KEY CHECK (one = 1), -- always 1
  epoch      BLOB    NOT NULL,                    -- 16 random bytes that identify this log
  created_ms INTEGER NOT NULL,                    -- when it was made, milliseconds since 1970
  sum        INTEGER NOT NULL
) STRICT;

-- Every record held, in the bytes in which its author wrote it. Rows are only added.
CREATE TABLE record (
  part        INTEGER NOT NULL, -- hash of study and site; leads every key
  counter     INTEGER NOT NULL, -- 1, 2, 3 ... within the part, in the order of commit
  id          BLOB    NOT NULL, -- UUIDv7 of the record
  digest      BLOB    NOT NULL, -- SHA-256 of body under the record tag
  kind        INTEGER NOT NULL, -- hearth.service.v1.RecordKind
  subject     TEXT    NOT NULL, -- what it is about
  received_ms INTEGER NOT NULL, -- when it was stored
  sum         INTEGER NOT NULL, -- over all columns but body, which the digest covers
  body        BLOB    NOT NULL  -- the exact bytes
) STRICT;
CREATE UNIQUE INDEX record_counter ON record (part, counter);
-- The one key that part does not lead. Ids begin with a time: in their order what comes together lies together, and a
-- commit touches few pages of the index. With part first, 64 tablets in 64 sites write 0.44 pages for each of 100,000
-- records, and 0.34 so.
CREATE UNIQUE INDEX record_id ON record (id, part);
-- Interviews (kind 1) are not in it: nearly all records are, their ids are random, and every one would touch a page of
-- its own. Their revisions are listed in projection.sqlite.
CREATE INDEX record_subject ON record (part, subject) WHERE kind <> 1;
-- Only the body of a record that is listed as erased changes.
CREATE TRIGGER record_no_update BEFORE UPDATE ON record
WHEN NOT EXISTS (SELECT 1 FROM erased WHERE erased.digest = old.digest) OR old.part IS NOT new.part
  OR old.counter IS NOT new.counter OR old.id IS NOT new.id OR old.digest IS NOT new.digest OR old.kind IS NOT new.kind
  OR old.subject IS NOT new.subject OR old.received_ms IS NOT new.received_ms OR old.sum IS NOT new.sum
BEGIN SELECT raise(ABORT, 'records are never changed'); END;
CREATE TRIGGER record_no_delete BEFORE DELETE ON record BEGIN SELECT raise(ABORT, 'records are never deleted'); END;

-- The records whose payload was destroyed because consent was withdrawn. They count as held.
CREATE TABLE erased (
  digest    BLOB    PRIMARY KEY, -- of the record as it was
  stub      BLOB    NOT NULL,    -- digest of the envelope in its place; empty: it was in quarantine, nothing is left
  erased_ms INTEGER NOT NULL,    -- when
  sum       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The counter of the last record of each part.
CREATE TABLE part (
  part    INTEGER PRIMARY KEY, -- the part
  counter INTEGER NOT NULL,    -- how many records it has
  sum     INTEGER NOT NULL
) STRICT;

-- How far each lane is held without a gap.
CREATE TABLE lane (
  device   BLOB    NOT NULL, -- 16 bytes
  epoch    BLOB    NOT NULL, -- 16 bytes
  seq      INTEGER NOT NULL, -- last entry held without a gap; 0: none
  chain    BLOB    NOT NULL, -- chain hash there
  branches INTEGER NOT NULL, -- number of forks: continuations that contradict the main branch
  sum      INTEGER NOT NULL,
  PRIMARY KEY (device, epoch)
) STRICT, WITHOUT ROWID;

-- The runs of entries of which lanes consist: what was signed, and by which signature.
CREATE TABLE lane_run (
  run_id     INTEGER PRIMARY KEY, -- in the order of arrival
  device     BLOB    NOT NULL,    -- the lane
  epoch      BLOB    NOT NULL,
  branch     INTEGER NOT NULL,    -- 0: the main branch, or beyond a gap; 1, 2, ...: a fork
  first_seq  INTEGER NOT NULL,    -- first entry
  last_seq   INTEGER NOT NULL,    -- last entry
  prev_chain BLOB    NOT NULL,    -- chain hash before the first entry
  head_chain BLOB    NOT NULL,    -- chain hash after the last entry
  digests    BLOB    NOT NULL,    -- 32 bytes for each entry
  signature  BLOB    NOT NULL,    -- the device's over the head; empty where a batch was split around a refused entry
  sum        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX lane_run_seq ON lane_run (device, epoch, branch, first_seq, last_seq);

-- What was taken in but cannot be used as it is.
CREATE TABLE quarantine (
  quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of arrival
  digest        BLOB    NOT NULL UNIQUE,           -- of the record, as its lane says
  reason        TEXT    NOT NULL,                  -- a reason of the catalogue in proto/fault
  message       TEXT    NOT NULL,                  -- the same in words
  device        BLOB    NOT NULL,                  -- the lane in which it came first
  epoch         BLOB    NOT NULL,
  seq           INTEGER NOT NULL,                  -- and its place there
  received_ms   INTEGER NOT NULL,                  -- when it was stored
  raw           BLOB,                              -- the exact bytes; NULL if the sender's copy was damaged
  sum           INTEGER NOT NULL                   -- over all columns but raw, which the digest covers
) STRICT;

-- The tablets that have said Hello.
CREATE TABLE device (
  device        BLOB    PRIMARY KEY, -- 16 bytes
  name          TEXT    NOT NULL,    -- name given to the tablet
  enumerator    TEXT    NOT NULL,    -- who works with it
  public_key    BLOB    NOT NULL,    -- Ed25519, kept at the first Hello
  first_seen_ms INTEGER NOT NULL,
  last_seen_ms  INTEGER NOT NULL,
  pending       INTEGER NOT NULL,    -- what it had not sent at the last Hello
  clock_skew_ms INTEGER NOT NULL,    -- its clock minus the server's at the last Hello
  fork_hellos   INTEGER NOT NULL,    -- times a Hello contradicted the log after one that did not
  fork_open     INTEGER NOT NULL,    -- 1 if the last Hello contradicted the log
  sum           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One-time codes by which tablets become known.
CREATE TABLE enrolment (
  enrolment_id INTEGER PRIMARY KEY,     -- in the order of making
  code         BLOB    NOT NULL UNIQUE, -- SHA-256 of the code under its tag
  study        TEXT    NOT NULL,        -- who the tablet will be
  name         TEXT    NOT NULL,
  enumerator   TEXT    NOT NULL,
  created_ms   INTEGER NOT NULL,        -- the time in which the code holds
  expires_ms   INTEGER NOT NULL,
  tries        INTEGER NOT NULL,        -- how often others than the tablet brought it
  device       BLOB    NOT NULL,        -- the tablet that used it; empty: none yet
  sum          INTEGER NOT NULL
) STRICT;

-- The rights of tablets to call for a short time.
CREATE TABLE session (
  session_id INTEGER PRIMARY KEY,     -- in the order of opening
  token      BLOB    NOT NULL UNIQUE, -- SHA-256 of the token
  device     BLOB    NOT NULL,        -- 16 bytes
  opened_ms  INTEGER NOT NULL,        -- the time in which it holds
  expires_ms INTEGER NOT NULL,
  sum        INTEGER NOT NULL
) STRICT;

-- The tablets whose rights were taken away.
CREATE TABLE revocation (
  device     BLOB    PRIMARY KEY, -- 16 bytes
  revoked_ms INTEGER NOT NULL,    -- when
  reason     TEXT    NOT NULL,    -- why, in the words of who did it
  revoked_by TEXT    NOT NULL,    -- who
  sum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
