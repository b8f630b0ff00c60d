"""The parts of the accelerator benchmark, a file each: `rows(tiny)` yields each row as soon as it is measured."""
