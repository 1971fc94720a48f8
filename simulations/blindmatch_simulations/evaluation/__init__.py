"""What is measured, attacked and judged: checks, attacks, benches, assessments, a year of accounts."""
