-- Small values beside the log: what hubs and their headquarters remember of each other.
CREATE TABLE shelf (
  space TEXT    NOT NULL, -- what kind of value it is
  key   BLOB    NOT NULL,
  value BLOB    NOT NULL,
  sum   INTEGER NOT NULL,
  PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
