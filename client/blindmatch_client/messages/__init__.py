"""Messages of a device: sent, received, kept until they are taken."""
