"""he-hamming: near-duplicate matching under homomorphic encryption; docs/designs/he-hamming.md."""

from blindmatch_protocol.designs.he_hamming.design import DESIGN, SMALL
