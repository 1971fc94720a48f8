"""wide-psi: near matches by one wide token under a verifiable OPRF; docs/designs/wide-psi.md."""

from blindmatch_protocol.designs.wide_psi.design import DESIGN, Request, WidePsi
from blindmatch_protocol.designs.wide_psi.tokening import WideTokening
