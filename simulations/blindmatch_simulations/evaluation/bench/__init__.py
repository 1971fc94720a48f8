"""Measurements of speed and size: `blindmatch bench` (docs/performance.md).

`measure/` has the unit u, clocks, runs, rows with their targets, and the meter that takes measurements. Of
the modules here `alone` and `messages_worker` are processes that a bench starts, `peer_outside` is one of an
environment of its own, `table` shows rows, and the others are the benches.
"""
