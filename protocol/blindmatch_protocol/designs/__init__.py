"""The built-in designs: each module here with a `DESIGN` is one, and has its name, with _ for -."""
