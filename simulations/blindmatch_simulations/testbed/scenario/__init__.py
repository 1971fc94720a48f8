"""A running deployment, what is done with it, and what is seen of it."""
