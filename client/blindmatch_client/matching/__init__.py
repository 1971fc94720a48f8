"""Whether a picture is on the list: the detector, and the exchange with the matcher."""
