"""Batches on a processor's vectors: plain Python writes LLVM IR, and `llvmlite` compiles it; docs/group.md.

ir -> field (ifma, fma) -> power, point -> windows, element -> drivers; sha512 -> kernel -> machine, selftest
"""
