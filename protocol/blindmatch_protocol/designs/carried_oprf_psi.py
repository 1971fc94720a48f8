"""carried-oprf-psi: oprf-psi, whose requests the provider carries, sealed; see `carried`."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.designs.carried import carried

DESIGN: Final = carried(oprf_psi.DESIGN, __name__)
