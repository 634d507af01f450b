-- What headquarters sends down in buckets, and what this tablet has done about it. These tables stand beside those of
-- schema.sql and are added to a store that was made without them. Sums and fingerprints are kept as signed numbers with
-- the same bits.

-- down_bucket is a bucket as it was at one moment at headquarters, and how far its next state has been fetched.
CREATE TABLE down_bucket (
  -- hearth.service.v1.BucketKind.
  kind INTEGER NOT NULL,
  scope TEXT NOT NULL,
  -- Of the rows in down_row.
  sum INTEGER NOT NULL,
  -- hearth.service.v1.Cursor of that moment.
  cursor BLOB NOT NULL,
  -- The cursor after the last page in down_stage; NULL: nothing is under way.
  stage_cursor BLOB,
  -- 1: what is in down_stage will be the whole bucket.
  stage_whole INTEGER NOT NULL CHECK (stage_whole IN (0, 1)),
  PRIMARY KEY (kind, scope)
) STRICT, WITHOUT ROWID;

-- down_row is a row of a bucket.
CREATE TABLE down_row (
  kind INTEGER NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (kind, scope, key)
) STRICT, WITHOUT ROWID;

-- down_stage keeps the pages of a fetch that is not finished. They become rows when the last one has come, all at once.
CREATE TABLE down_stage (
  kind INTEGER NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint INTEGER NOT NULL,
  -- NULL: the row is gone.
  body BLOB,
  PRIMARY KEY (kind, scope, key)
) STRICT, WITHOUT ROWID;

-- assignment_step is what this tablet has recorded about an assignment; it stays when the record is pruned.
CREATE TABLE assignment_step (
  assignment_id TEXT NOT NULL,
  -- hearth.service.v1.AssignmentAction.
  action INTEGER NOT NULL,
  -- The order of headquarters to which it was done.
  head BLOB NOT NULL CHECK (length(head) = 32),
  -- Of the record.
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  -- hearth.service.v1.Assignment: the order, which may be taken away later.
  body BLOB NOT NULL,
  PRIMARY KEY (assignment_id, action, head)
) STRICT, WITHOUT ROWID;

-- assignment_use says to which assignment an interview of this tablet belongs.
CREATE TABLE assignment_use (
  interview_id TEXT PRIMARY KEY,
  assignment_id TEXT NOT NULL,
  completed INTEGER NOT NULL CHECK (completed IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX assignment_use_of ON assignment_use (assignment_id, completed);

-- review_answer lists the reviews that a revision of this tablet answers.
CREATE TABLE review_answer (
  -- Of the review's record.
  digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
  -- Of the revision.
  revision BLOB NOT NULL CHECK (length(revision) = 32)
) STRICT, WITHOUT ROWID;
