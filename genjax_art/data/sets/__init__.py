"""The shipped data sets, one file each: `build(*, split=..., ...) -> Source`."""
