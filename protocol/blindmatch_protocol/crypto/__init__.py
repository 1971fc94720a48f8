"""Cryptography beyond the group: OPRF, proofs of equal keys, HPKE, franking signatures, AEADs."""
