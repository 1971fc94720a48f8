"""Studies of one design or one hash: near matching with token-psi, the centre's second hash."""
