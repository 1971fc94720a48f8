"""Fixtures every room's tests share."""
