"""The built-in designs: every module here with a `DESIGN` is one, and has the name of its design, - written _."""
