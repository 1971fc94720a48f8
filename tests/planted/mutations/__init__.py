"""Planted cheats: designs that claim what they do not keep, each of which a run must catch.

hooks       honest designs with hooks around their steps; what a cheat is that has others, who must find it
devices     the device: blinds, rounds, cover, proofs that are not checked, what is remembered
requests    what a request bears beside itself, some of it under a condition or where nobody looks
rounds      what is drawn in later rounds
kinds       what is leaked in one kind of binding alone
labels      what a label says beside its entry, and vouchers that open too early
pinned      what follows from the picture and from what is sent beside it; accounts that have lived; messages
roles       roles, and claims that are too small
proofs      nonces of a role's proofs
lists       what a set or an update tells of the list; updates that do not do what they say
places      the order in which rows are sent
timing      steps that take their time; a device that looks at the outcome first
watched     whoever looks whether anybody is looking
table       all of them, and the mutation score
"""
