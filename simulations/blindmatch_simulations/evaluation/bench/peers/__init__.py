"""Other programs on the same machine: `outside` is run by their own Python, `runner` starts it."""
