"""Corpora: pictures of a folder or of installed packages, hashed once, and what pair distances bound."""
