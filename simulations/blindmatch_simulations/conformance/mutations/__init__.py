"""Planted cheats: designs that claim what they do not keep, each of which a run must catch.

padded     oprf-psi with room in its request, and what can be hidden there
devices    cheats of the device: blinds, rounds, cover, memory, checks that are left out
worst      cheats that show in one class of pairs alone
lists      cheats of publishing that tell of the list
timing     cheats that take their time
hasty      a device that looks at the outcome first
updating   cheats of updates and of those who apply them
hidden     cheats that show under other fields, in short draws, late, or in large things alone
roles      cheats of publishing and of roles, and claims that are too small
table      all of them as data, and the mutation score
"""
