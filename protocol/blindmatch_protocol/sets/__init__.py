"""What an encrypted hash set is made of: stores, filters, maps, labels."""
