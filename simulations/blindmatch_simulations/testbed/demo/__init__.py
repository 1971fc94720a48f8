"""The demo: one run of the main job, and what it must come to."""
