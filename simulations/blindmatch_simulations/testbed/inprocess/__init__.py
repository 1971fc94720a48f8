"""A design opened for all its parties in one process, with randomness that a seed decides."""
