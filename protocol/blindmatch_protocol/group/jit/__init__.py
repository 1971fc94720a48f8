"""Batches on a processor's vectors: plain Python writes LLVM IR, and `llvmlite` compiles it; docs/group.md.

ir -> field -> element -> drivers (and sha512) -> machine
"""
