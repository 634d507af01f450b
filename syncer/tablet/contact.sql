-- contact is what a tablet remembers of a server that it has met and believed, by the address at which it was met: what
-- spares it round trips the next time.
CREATE TABLE contact (
  address TEXT PRIMARY KEY,
  -- Opens the next session; empty: none. It is given again at every use with a greater number.
  ticket BLOB NOT NULL,
  used INTEGER NOT NULL,
  -- How it reads packed batches, and the dictionaries it has, 4 bytes each.
  packing INTEGER NOT NULL,
  dictionaries BLOB NOT NULL CHECK (length(dictionaries) % 4 = 0),
  -- 1: it is a hub, where lanes end elsewhere than headquarters' receipts say.
  hub INTEGER NOT NULL CHECK (hub IN (0, 1)),
  -- 1: records were sent before its answer to Hello, which has not come yet.
  early INTEGER NOT NULL CHECK (early IN (0, 1))
) STRICT;
