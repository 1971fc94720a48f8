"""Matching of pictures against the list: the detector, and the exchange with the matcher."""
