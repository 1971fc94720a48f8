"""Option 0c, exceptional access to one account's messages, as a study in one process: accounts and texts are
generated, and nothing of it is in a client, a server or `serve` (docs/designs/targeted-access.md)."""
