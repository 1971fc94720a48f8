"""What leaves a device after a match: reports, complaints, cover."""
