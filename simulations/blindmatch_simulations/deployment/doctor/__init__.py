"""Looks a deployment over: what is wrong with it, and what to do about it."""

from blindmatch_simulations.deployment.doctor.examination import examine
from blindmatch_simulations.deployment.doctor.finding import Finding, Status
