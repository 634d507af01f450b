-- Attachments of a tablet's interviews: photos, recordings, files. These tables stand beside those of schema.sql and are
-- added to a store that was made without them. Bytes are kept in the store itself, so that a copy or a backup of the one
-- file has them too.

-- blob is an attachment, once for each content.
CREATE TABLE blob (
  n INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
  size INTEGER NOT NULL CHECK (size >= 0),
  media_type TEXT NOT NULL,
  added_ms INTEGER NOT NULL
) STRICT;

-- blob_piece is a stretch of its bytes: those of each are without gaps from 0 to its size.
CREATE TABLE blob_piece (
  n INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  start INTEGER NOT NULL CHECK (start >= 0),
  -- NULL after pruning.
  bytes BLOB CHECK (length(bytes) > 0),
  UNIQUE (sha256, start)
) STRICT;

-- blob_use says which records list an attachment; its bytes need not be here.
CREATE TABLE blob_use (
  n INTEGER PRIMARY KEY,
  -- Of the record.
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  UNIQUE (digest, sha256)
) STRICT;
CREATE INDEX blob_use_sha256 ON blob_use (sha256);

-- blob_kept is headquarters' word, given after its receipt for the record, that it has the attachment whole. It holds for
-- one epoch of the server: one that was restored from a backup is asked again.
CREATE TABLE blob_kept (
  n INTEGER PRIMARY KEY,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  server_epoch BLOB NOT NULL CHECK (length(server_epoch) = 16),
  time_ms INTEGER NOT NULL,
  UNIQUE (digest, sha256, server_epoch)
) STRICT;

CREATE TRIGGER blob_stays BEFORE DELETE ON blob BEGIN
  SELECT RAISE(ABORT, 'an attachment is never deleted');
END;
CREATE TRIGGER blob_fixed BEFORE UPDATE ON blob BEGIN
  SELECT RAISE(ABORT, 'an attachment is never changed');
END;
CREATE TRIGGER blob_piece_stays BEFORE DELETE ON blob_piece BEGIN
  SELECT RAISE(ABORT, 'a piece of an attachment is never deleted');
END;
CREATE TRIGGER blob_piece_fixed BEFORE UPDATE ON blob_piece
WHEN NEW.bytes IS NOT NULL OR NEW.n IS NOT OLD.n OR NEW.sha256 IS NOT OLD.sha256 OR NEW.start IS NOT OLD.start BEGIN
  SELECT RAISE(ABORT, 'a piece of an attachment is never changed');
END;
CREATE TRIGGER blob_piece_pruned BEFORE UPDATE OF bytes ON blob_piece
WHEN NOT EXISTS (SELECT 1 FROM blob_use AS u WHERE u.sha256 = OLD.sha256)
  OR EXISTS (SELECT 1 FROM blob_use AS u WHERE u.sha256 = OLD.sha256 AND NOT EXISTS (
    SELECT 1 FROM blob_kept AS k WHERE k.digest = u.digest AND k.sha256 = u.sha256
      AND k.server_epoch = (SELECT server_epoch FROM meta)))
BEGIN
  SELECT RAISE(ABORT, 'an attachment that headquarters has not said it has keeps its bytes');
END;
CREATE TRIGGER blob_use_stays BEFORE DELETE ON blob_use BEGIN
  SELECT RAISE(ABORT, 'the use of an attachment is never deleted');
END;
CREATE TRIGGER blob_use_fixed BEFORE UPDATE ON blob_use BEGIN
  SELECT RAISE(ABORT, 'the use of an attachment is never changed');
END;
CREATE TRIGGER blob_kept_stays BEFORE DELETE ON blob_kept BEGIN
  SELECT RAISE(ABORT, 'what headquarters has said of an attachment is never deleted');
END;
CREATE TRIGGER blob_kept_fixed BEFORE UPDATE ON blob_kept BEGIN
  SELECT RAISE(ABORT, 'what headquarters has said of an attachment is never changed');
END;
