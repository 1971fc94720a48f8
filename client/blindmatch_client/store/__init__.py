"""The device's store: one sealed database, its key, and what each table holds."""
