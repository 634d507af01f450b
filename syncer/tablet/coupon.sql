-- coupon_number is the number that headquarters gave a lane of this store for coupons, and the file that the store then was. A
-- copy of this store is another file, and has none of these; a lane of its own it has later.
CREATE TABLE coupon_number (
  epoch BLOB NOT NULL CHECK (length(epoch) = 16),
  file BLOB NOT NULL,
  number INTEGER NOT NULL CHECK (number >= 0),
  PRIMARY KEY (epoch, file)
) STRICT;
