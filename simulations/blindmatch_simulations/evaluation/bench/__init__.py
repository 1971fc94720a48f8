"""Measurements of speed and size: `blindmatch bench` (docs/performance.md).

Read in this order: `yardstick` (the unit u and the clocks), `runs` (medians, and when a measurement is
disturbed), `row` and `catalogue` (what is measured, and its target), `meter` (takes measurements),
`results` (the file). The other modules are the benches themselves.
"""
