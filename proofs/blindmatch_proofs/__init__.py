"""Verification of what parties claim; sans-IO."""
