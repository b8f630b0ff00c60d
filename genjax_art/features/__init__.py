"""What measures compare examples by: one file an extractor, each with `build(known, held, *, options)`."""
