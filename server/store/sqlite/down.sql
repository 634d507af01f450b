-- What travels to tablets, and what people see of it; the second part of projection.sqlite.

-- Current assignments.
CREATE TABLE assignment (
  part          INTEGER NOT NULL, -- hash of study and site
  assignment_id TEXT    NOT NULL,
  study         TEXT    NOT NULL,
  holder        TEXT    NOT NULL, -- the enumerator who has it
  next          TEXT    NOT NULL, -- who gets it when the holder has given it back; empty: nobody
  site_id       TEXT    NOT NULL,
  interviews    INTEGER NOT NULL, -- how many are ordered
  problem       INTEGER NOT NULL, -- 1 if its revisions leave something to decide
  body          BLOB    NOT NULL, -- hearth.service.v1.AssignmentSummary in deterministic bytes, without interviews
  PRIMARY KEY (part, assignment_id)
) STRICT;
CREATE INDEX assignment_in_order ON assignment (assignment_id, part, study, holder, next, site_id);

-- The interviews that belong to assignments.
CREATE TABLE assignment_interview (
  part          INTEGER NOT NULL, -- of the interview
  interview_id  TEXT    NOT NULL,
  assignment_id TEXT    NOT NULL,
  interview_key TEXT    NOT NULL,
  enumerator    TEXT    NOT NULL,
  completed     INTEGER NOT NULL, -- 1 if it was completed
  PRIMARY KEY (part, interview_id)
) STRICT;
CREATE INDEX assignment_interview_of ON assignment_interview (assignment_id, interview_id);

-- What was said of interviews.
CREATE TABLE review (
  part         INTEGER NOT NULL, -- of the interview
  interview_id TEXT    NOT NULL,
  review_id    TEXT    NOT NULL,
  study        TEXT    NOT NULL,
  time_ms      INTEGER NOT NULL,
  body         BLOB    NOT NULL, -- hearth.service.v1.Review in deterministic bytes
  PRIMARY KEY (part, interview_id, review_id)
) STRICT;
CREATE INDEX review_in_order ON review (time_ms, review_id, study);
CREATE INDEX review_of ON review (interview_id, time_ms, review_id);
CREATE INDEX review_by_id ON review (review_id);

-- The rows of buckets, which travel to tablets, and where rows were: a tablet that has one must hear that it is gone.
CREATE TABLE down_row (
  part    INTEGER NOT NULL,
  kind    INTEGER NOT NULL, -- hearth.service.v1.BucketKind
  study   TEXT    NOT NULL,
  scope   TEXT    NOT NULL,
  key     TEXT    NOT NULL,
  counter INTEGER NOT NULL, -- of the record of the part by which it became so
  body    BLOB,             -- NULL: it is gone
  PRIMARY KEY (part, kind, study, scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX down_row_after ON down_row (part, kind, study, scope, counter);

-- What each bucket holds in each part.
CREATE TABLE down_sum (
  part  INTEGER NOT NULL,
  kind  INTEGER NOT NULL,
  study TEXT    NOT NULL,
  scope TEXT    NOT NULL,
  sum   INTEGER NOT NULL, -- sum of the fingerprints of its rows, modulo 2^64
  held  INTEGER NOT NULL, -- how many rows there are
  last  INTEGER NOT NULL, -- the greatest counter among them and those that are gone
  PRIMARY KEY (part, kind, study, scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX down_sum_of ON down_sum (study, scope, kind, part, sum, held, last);
