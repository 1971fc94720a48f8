"""The group ristretto255 (RFC 9496) on batches.

A batch of elements or scalars is a uint8 array of shape (n, 32), one canonical encoding a row. A single
row, of shape (32,) or (1, 32), goes with every row of the other operand. Operations that take `executor`
cut the batch over its threads.
"""

from blindmatch_protocol.group.backend import (
    LIBSODIUM,
    BackendError,
    BackendWarning,
    GroupBackend,
    Setting,
    building,
    choose,
    described,
    drop,
    in_use,
    missing,
    using,
)
from blindmatch_protocol.group.elements import (
    add,
    add_scalars,
    check_elements,
    check_scalars,
    check_shape,
    hash_multiply,
    hash_to_group,
    invert_scalars,
    multiply,
    multiply_base,
    multiply_scalars,
    random_scalars,
    reduce_scalars,
    subtract,
    subtract_scalars,
    sum_products,
)
from blindmatch_protocol.group.rows import ELEMENT_BYTES, ORDER, SCALAR_BYTES, UNIFORM_BYTES, one_row
