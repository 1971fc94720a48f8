"""carried-split-psi: split-psi, whose requests the provider carries, sealed; see `carried`."""

from blindmatch_protocol.designs import split_psi
from blindmatch_protocol.designs.carried import carried

DESIGN = carried(split_psi.DESIGN, __name__)
