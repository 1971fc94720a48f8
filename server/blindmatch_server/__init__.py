"""Relay, matcher, centre and curator."""
