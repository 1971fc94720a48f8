"""Measures every design on the same work: plan, material, one guarded run a design, results, report."""
