"""carried-token-psi: token-psi, whose requests the provider carries, sealed; see `carried`."""

from blindmatch_protocol.designs import token_psi
from blindmatch_protocol.designs.carried import carried

DESIGN = carried(token_psi.DESIGN, __name__)
