"""threshold-psi: matches that open from a threshold on; docs/designs/threshold-psi.md."""

from blindmatch_protocol.designs.threshold_psi.design import DESIGN, ThresholdPsi, Voucher
