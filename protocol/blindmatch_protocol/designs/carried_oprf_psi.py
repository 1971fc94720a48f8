"""carried-oprf-psi: oprf-psi, whose requests the provider carries, sealed; see `carried`."""

from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.designs.carried import carried

DESIGN = carried(oprf_psi.DESIGN, __name__)
