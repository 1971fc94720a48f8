"""The built-in designs: every module here with a `DESIGN` is found by scanning this folder."""
