"""The egress audit: can every byte that left a device be derived again from what was declared?"""

from blindmatch_simulations.audit.audit import Audit, Evidence, audit_device
from blindmatch_simulations.audit.finding import Finding

__all__ = ["Audit", "Evidence", "Finding", "audit_device"]
