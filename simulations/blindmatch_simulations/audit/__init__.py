"""The egress audit: what left a device, held against its recorded sessions and what is declared."""

from blindmatch_simulations.audit.audit import Audit, Evidence, audit_device
from blindmatch_simulations.audit.finding import Finding

__all__ = ["Audit", "Evidence", "Finding", "audit_device"]
