"""token-psi: near-duplicate private matching by tokens under a verifiable OPRF; docs/designs/token-psi.md."""

from blindmatch_protocol.designs.token_psi.design import DESIGN, TokenPsi
from blindmatch_protocol.designs.token_psi.files import MatcherState, Setup
from blindmatch_protocol.designs.token_psi.messages import Reply, Request
from blindmatch_protocol.designs.token_psi.parameters import Limits, Tokening

__all__ = ["DESIGN", "Limits", "MatcherState", "Reply", "Request", "Setup", "TokenPsi", "Tokening"]
