"""Attacks on the claims of the documents; `blindmatch attack` runs them.

adversary    who attacks: means, the claim, the budget, and the weakness that lets it win
arena        what an attack runs against: a design in this process, servers that it started itself
figure       what it achieved
weakness     plants a weakness, for as long as a block runs
table        all attacks as data
run          runs them, and the result as JSON

Every other module is one attack, by its name. docs/attacks.md.
"""
