"""The egress audit: what left a device, held against its recorded sessions and what is declared."""

from blindmatch_simulations.testbed.audit.audit import Audit, Undeclared, audit_device
from blindmatch_simulations.testbed.audit.counterpart import Counterpart
from blindmatch_simulations.testbed.audit.records import Evidence, Finding, Told
