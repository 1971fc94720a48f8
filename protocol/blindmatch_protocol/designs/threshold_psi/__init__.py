"""threshold-psi: matches that open from a threshold on; docs/designs/threshold-psi.md."""

from blindmatch_protocol.designs.threshold_psi.design import DESIGN, ThresholdPsi
from blindmatch_protocol.designs.threshold_psi.opener import Voucher
