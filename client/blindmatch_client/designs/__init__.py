"""Designs that need what the protocol room may not have: a library that need not be installed, and files."""
