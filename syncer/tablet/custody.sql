-- custody is a hub's signed promise to forward a lane up to seq. It covers nothing: a record stays here until headquarters
-- has signed for it. One row for each lane and hub.
CREATE TABLE custody (
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  hub_key BLOB NOT NULL CHECK (length(hub_key) = 32),
  hub TEXT NOT NULL,
  seq INTEGER NOT NULL CHECK (seq > 0),
  chain BLOB NOT NULL CHECK (length(chain) = 32),
  time_ms INTEGER NOT NULL,
  signature BLOB NOT NULL CHECK (length(signature) = 64),
  PRIMARY KEY (epoch, hub_key)
) STRICT;
