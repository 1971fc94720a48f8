"""The device: messenger, detector, egress, report."""
