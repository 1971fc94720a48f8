"""oprf-psi: exact private matching by a verifiable OPRF; docs/designs/oprf-psi.md."""

from blindmatch_protocol.designs.oprf_psi.design import DESIGN, OprfPsi
from blindmatch_protocol.designs.oprf_psi.files import MatcherState, Setup
from blindmatch_protocol.designs.oprf_psi.messages import Reply, Request

__all__ = ["DESIGN", "MatcherState", "OprfPsi", "Reply", "Request", "Setup"]
