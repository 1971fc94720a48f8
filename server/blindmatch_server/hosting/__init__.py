"""What every server stands on: endpoint, calls, identity, limits, event log, workers."""
