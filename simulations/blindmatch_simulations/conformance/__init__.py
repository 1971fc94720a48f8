"""Conformance: what a design claims is tested, and what it leaks is measured (docs/conformance.md).

verdict      what a check says: passed, failed or not applicable, each with a reason
deployed     a design published and opened in memory, and its sessions
pool         pictures and a list with every relation to one another that a check needs
bench        what all checks of one run share
settings     the same after an update, and with a set and pictures that are large
checks       the table of checks; `run` runs them
"""

from blindmatch_simulations.conformance.run import Options, Report, check_design
from blindmatch_simulations.inprocess.verdict import Result, Verdict

__all__ = ["Options", "Report", "Result", "Verdict", "check_design"]
