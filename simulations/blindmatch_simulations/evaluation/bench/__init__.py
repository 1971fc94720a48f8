"""Measurements of speed and size: `blindmatch bench` (docs/performance.md)."""
