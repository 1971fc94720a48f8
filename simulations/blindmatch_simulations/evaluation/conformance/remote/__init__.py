"""Conformance of a counterpart that runs elsewhere, in any language, over gRPC."""
