"""One door per library: everything else in the house reaches the outside through here."""
