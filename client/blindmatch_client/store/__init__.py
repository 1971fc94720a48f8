"""What a device keeps: one sealed database, its key, and what each table holds."""
