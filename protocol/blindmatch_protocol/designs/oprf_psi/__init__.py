"""oprf-psi: exact private matching by a verifiable OPRF; docs/designs/oprf-psi.md."""

from blindmatch_protocol.designs.oprf_psi.design import DESIGN, OprfPsi, Reply, Request
