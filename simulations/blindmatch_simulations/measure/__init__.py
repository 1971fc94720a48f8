"""Measuring: clocks, the unit u, memory, runs, rows and intervals."""
