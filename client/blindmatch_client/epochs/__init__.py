"""Which sets a device trusts, and why: adoption, the log, endorsements, evidence."""
