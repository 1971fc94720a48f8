"""token-psi: near-duplicate private matching by tokens under a verifiable OPRF; docs/designs/token-psi.md."""

from blindmatch_protocol.designs.token_psi.build import Tokening
from blindmatch_protocol.designs.token_psi.design import DESIGN, Request, Setup, TokenPsi
