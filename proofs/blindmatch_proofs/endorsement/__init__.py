"""k of n organisations endorse what a set holds: encodings, verification, sans-IO (docs/accountability.md).

organisation  its pictures --> hashes -----------> curator
curator       entries that k or more submitted: hash, id, salt --> a batch: Merkle root over its entries
organisation  every hash of the batch is one of its own? signs (deployment, design, policy, action,
              first and last epoch, size, root)
curator       batches with k signatures --> endorsement.bin, beside the set
device        once an epoch: roots, signatures, nothing dropped or brought back since the last one
              at a match: the label's entry is in a batch, its k signatures hold in this epoch
"""

from blindmatch_proofs.endorsement.batch import (
    Action,
    Batch,
    EndorsementPolicy,
    Organisation,
    Terms,
    leaves_of,
)
from blindmatch_proofs.endorsement.table import FILE, EndorsedTable, write_table
from blindmatch_proofs.endorsement.tree import TREE_FILE, KeptTrees, write_trees
from blindmatch_proofs.endorsement.verify import (
    EndorsementProof,
    prove,
    verify_label,
    verify_none_dropped,
    verify_proof,
    verify_table,
)
