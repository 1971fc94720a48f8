"""slot-psi: hidden slots, one second question, one record by private retrieval; docs/designs/slot-psi.md.

    matcher, first key          device                              party_a, party_b: shares of the second
                                                                    key, the same records
        <-- blinded tokens -----
        --- evaluation, proof ->  token --> slot; bands agree?
                                  --- pair, blinded; DPF key of a slot, one for each party --->
                                  <-- evaluation, proof; XOR of the slots that the key selects ---
                                  check the record, open a wrap, open the label

Modules, in the order in which they stand on each other: `parameters`, `leakage`, `plan`, `table`,
`retrieval`, `records`, `build`, `session`; then `messages`, `files`, `rebuild`, `design`. This is a research
construction, not reviewed outside.
"""

from blindmatch_protocol.designs.slot_psi.design import DESIGN, SlotPsi
