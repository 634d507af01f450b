-- coupon_number is the number that headquarters gave a lane of this store for coupons. The lane of a copy of this store has
-- another.
CREATE TABLE coupon_number (
  epoch BLOB PRIMARY KEY CHECK (length(epoch) = 16),
  number INTEGER NOT NULL CHECK (number >= 0)
) STRICT;
