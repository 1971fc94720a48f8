"""What a design leaks, measured: pairs that agree on every declared fact, told apart or not."""
