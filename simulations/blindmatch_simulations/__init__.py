"""Scenarios, measurement and the command line."""
