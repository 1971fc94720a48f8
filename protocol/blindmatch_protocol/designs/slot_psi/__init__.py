"""slot-psi: hidden slots, one second question, one record by private retrieval: the core.

    matcher, first key          device                              party_a, party_b: shares of the second
                                                                    key, the same records
        <-- blinded tokens -----
        --- evaluation, proof ->  token --> slot; bands agree?
                                  --- pair, blinded; DPF key of a slot, one for each party --->
                                  <-- evaluation, proof; XOR of the slots that the key selects ---
                                  check the record, open a wrap, open the label

Modules, in the order in which they stand on each other: `parameters`, `leakage`, `plan`, `table`,
`retrieval`, `records`, `build`, `session`.

**Not yet a design that can be run.** This package holds the pure parts, which its tests run from a list to an
opened label and attack. Research construction, not reviewed outside.
"""
