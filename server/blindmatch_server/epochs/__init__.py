"""Epochs as servers keep them: built, published, logged, served."""
