"""The design contract, its building blocks and the built-in designs; sans-IO."""
