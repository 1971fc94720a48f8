"""Looks a deployment over: what is wrong with it, and what to do about it."""

from blindmatch_simulations.doctor.examination import examine
from blindmatch_simulations.doctor.finding import Finding, Status

__all__ = ["Finding", "Status", "examine"]
