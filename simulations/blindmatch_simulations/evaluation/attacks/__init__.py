"""Attacks on the claims of the documents; `blindmatch attack` runs them.

adversary    who attacks: means, the claim, the budget; and the weakness that lets it win, while a block runs
arena        what an attack runs against: a design in this process; `loopback`: servers that it started itself
needs        what an attack needs of a design
figure       what it achieved, and how well it tells two cases apart
table        all attacks, and why one is not played against a design
run          runs them, and the result as JSON

Every other module has the attacks on one subject, by its name. docs/attacks.md.
"""
