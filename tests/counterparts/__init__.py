"""Programs that others wrote, held against this one: `make counterparts`.

Each runs in an environment of its own below build/counterparts, which is installed from locked hashes, or for
programs of Debian's by apt, which checks signatures.
"""
