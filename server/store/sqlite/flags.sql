-- Numbers of flags of current interviews, one row per combination of values that occurs, for each way to tell flags apart.
CREATE TABLE flag_cell (
  part          INTEGER NOT NULL,
  shape         INTEGER NOT NULL, -- by what: 1 question, 2 rule, 4 severity, any of them together
  study         TEXT    NOT NULL,
  questionnaire TEXT    NOT NULL,
  enumerator    TEXT    NOT NULL,
  site_id       TEXT    NOT NULL,
  question      TEXT    NOT NULL, -- path without rows; empty where the shape does not tell questions apart, as the next two
  rule          TEXT    NOT NULL,
  severity      INTEGER NOT NULL, -- hearth.form.v1.Severity
  flags         INTEGER NOT NULL, -- how many
  hard          INTEGER NOT NULL, -- how many of them are hard
  interviews    INTEGER NOT NULL, -- of how many interviews; never 0
  PRIMARY KEY (part, shape, study, questionnaire, enumerator, site_id, question, rule, severity)
) STRICT, WITHOUT ROWID;
