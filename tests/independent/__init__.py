"""A check of the report's first two views that shares no code with the program: see `first_views.py`."""
