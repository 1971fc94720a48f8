"""Attacks on the claims of the documents; `blindmatch attack` runs them (docs/reference/attacks.md).

`adversary`, `arena`, `figure`, `table` and `run` are what attacks are made of; every other module has the
attacks on one subject, by its name.
"""
