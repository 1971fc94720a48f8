"""threshold-near: near matches that open from a threshold on; docs/designs/threshold-near.md."""

from blindmatch_protocol.designs.threshold_near.design import DESIGN, Sizes, ThresholdNear, Voucher
