-- projection.sqlite: what is derived from the log, and how far the log has been read for it. It may be deleted at any
-- time while no server runs; it is then made again from log.sqlite.

-- The one row about the file itself.
CREATE TABLE meta (
  one   INTEGER PRIMARY KEY CHECK (one = 1), -- always 1
  epoch BLOB NOT NULL                        -- the log from which this is made
) STRICT;

-- How far the log has been read, written in the same transaction as what was derived from it.
CREATE TABLE cursor (
  part    INTEGER PRIMARY KEY, -- the part
  counter INTEGER NOT NULL,    -- counter of the last record read
  listed  INTEGER NOT NULL     -- up to which counter all records about interviews are named in interview.records
) STRICT;

-- Current interviews. Columns beside the body are copies for finding, counting and ordering. Ids are random: with part
-- first those that come together from a site lie together. Led by the id, every interview had a page of its own: of
-- 200,000 interviews each wrote 0.93 pages and not 0.33, and more with every further one.
CREATE TABLE interview (
  part          INTEGER NOT NULL, -- hash of study and site
  interview_id  TEXT    NOT NULL,
  study         TEXT    NOT NULL,
  round         INTEGER NOT NULL,
  questionnaire TEXT    NOT NULL,
  enumerator    TEXT    NOT NULL,
  site_id       TEXT    NOT NULL,
  day           TEXT    NOT NULL, -- yyyy-mm-dd, empty if not known
  result        INTEGER NOT NULL, -- hearth.survey.v1.ResultCode
  review_state  INTEGER NOT NULL, -- hearth.service.v1.ReviewState
  start_time_ms INTEGER NOT NULL, -- 0 if not known
  conflict      INTEGER NOT NULL, -- 1 if several revisions compete
  records       BLOB,             -- counters of its records, ascending, as varints of the distances; NULL if not known
  body          BLOB    NOT NULL, -- hearth.service.v1.InterviewProjection in deterministic bytes, without what repeats the summary (lean.go)
  PRIMARY KEY (part, interview_id)
) STRICT;
-- These two do not begin with part: they are the order in which interviews of all parts are listed. What comes together
-- lies together in them too.
CREATE INDEX interview_in_order ON interview
  (start_time_ms, interview_id, part, study, enumerator, site_id, questionnaire, conflict);
CREATE INDEX interview_conflict ON interview (start_time_ms, interview_id, part) WHERE conflict = 1;

-- Numbers of current interviews, one row per combination of values that occurs.
CREATE TABLE count_cell (
  part          INTEGER NOT NULL,
  study         TEXT    NOT NULL,
  round         INTEGER NOT NULL,
  questionnaire TEXT    NOT NULL,
  enumerator    TEXT    NOT NULL,
  site_id       TEXT    NOT NULL,
  day           TEXT    NOT NULL,
  result        INTEGER NOT NULL,
  review_state  INTEGER NOT NULL,
  interviews    INTEGER NOT NULL, -- how many; never 0
  PRIMARY KEY (part, study, round, questionnaire, enumerator, site_id, day, result, review_state)
) STRICT, WITHOUT ROWID;

-- Interviews that are withdrawn; they have no row in interview and are in no count.
CREATE TABLE withdrawn (
  part         INTEGER NOT NULL, -- hash of study and site
  interview_id TEXT    NOT NULL,
  records      BLOB    NOT NULL, -- counters of its records, as in interview
  body         BLOB    NOT NULL, -- hearth.service.v1.Tombstone in deterministic bytes
  PRIMARY KEY (part, interview_id)
) STRICT;

-- Decisions about pairs of people and households.
CREATE TABLE decision (
  part        INTEGER NOT NULL, -- of the study as a whole
  decision_id TEXT    NOT NULL,
  study       TEXT    NOT NULL,
  time_ms     INTEGER NOT NULL, -- 0 if not known
  body        BLOB    NOT NULL, -- hearth.service.v1.LinkDecision in deterministic bytes
  PRIMARY KEY (part, decision_id)
) STRICT;

-- Current definitions of studies.
CREATE TABLE study (
  part  INTEGER NOT NULL, -- of the study as a whole
  study TEXT    NOT NULL, -- its code
  body  BLOB    NOT NULL, -- hearth.survey.v1.Study in deterministic bytes
  PRIMARY KEY (part, study)
) STRICT;
