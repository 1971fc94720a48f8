"""Which sets a device trusts, and why: trusted.py judges an offer without I/O, adoption.py keeps it."""
