"""k of n organisations endorse what a set holds: encodings, verification, sans-IO
(docs/accountability.md)."""

from blindmatch_proofs.endorsement.batch import (
    FILE,
    Action,
    Batch,
    EndorsedTable,
    EndorsementPolicy,
    Organisation,
    Terms,
    hash_entries,
    write_table,
)
from blindmatch_proofs.endorsement.verify import (
    TREE_FILE,
    EndorsementProof,
    KeptTrees,
    prove,
    verify_label,
    verify_none_dropped,
    verify_proof,
    verify_table,
    write_trees,
)
