"""Pictures: crops of bundled photographs, generated ones, their edits, and which of them should match."""
