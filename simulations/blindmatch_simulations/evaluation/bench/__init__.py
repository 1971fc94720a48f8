"""Measurements of speed and size: `blindmatch bench` (docs/reference/performance.md)."""
