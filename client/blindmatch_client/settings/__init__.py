"""What a device is set to, and what its user is told of it."""
