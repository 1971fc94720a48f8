"""Reports, complaints and cover: all that leaves a device after a match."""
