"""Pictures: decoding from bytes, PDQ, the lazy item that designs are given. Pure functions on buffers."""
