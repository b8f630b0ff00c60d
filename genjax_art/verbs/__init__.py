"""What is drawn from a run: one file a verb, each with `draw(run, out, *, options)`."""
