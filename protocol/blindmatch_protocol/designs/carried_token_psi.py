"""carried-token-psi: token-psi, whose requests the provider carries, sealed; see `carried`."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.designs import token_psi
from blindmatch_protocol.designs.carried import carried

DESIGN: Final = carried(token_psi.DESIGN, __name__)
