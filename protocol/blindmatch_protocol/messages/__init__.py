"""What travels and how it is encoded: messages, attachments, reports, manifests."""
