"""Conformance: what a design claims is tested, and what it leaks is measured (docs/reference/conformance.md).

fixtures     what all checks of one run share; the same after an update, with a large set, with large pictures
checks       the table of checks; `run` runs them
"""

from blindmatch_simulations.evaluation.conformance.run import Options, Report, check_design
from blindmatch_simulations.testbed.inprocess.verdict import Result, Verdict
