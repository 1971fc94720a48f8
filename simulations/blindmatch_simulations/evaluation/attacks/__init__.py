"""Attacks on the claims of the documents; `blindmatch attack` runs them.

adversary    who attacks: means, the claim, the budget; and the weakness that lets it win, while a block runs
arena        what an attack runs against, a design in this process, and needs of it; `loopback`: servers that
             it started itself
figure       what it achieved, how well it tells two cases apart, and what it spent
table        all attacks, and why one is not played against a design
run          runs them, and the result as JSON

Every other module has the attacks on one subject, by its name. docs/attacks.md.
"""
