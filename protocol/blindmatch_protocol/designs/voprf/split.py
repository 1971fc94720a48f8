"""A design's key in shares at third parties of their own: what the design then declares.

curator   k = the design's key; shares of it to the parties; k is not kept
device    --- C ---> party_a, party_b, ...     <-- D_i = k_i*C, proof against K_i ---
device    every proof is checked against that party's own key; D = their sum; then as the design itself
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from blindmatch_protocol.contract.declaration import Info, Role
from blindmatch_protocol.contract.party import Party
from blindmatch_protocol.designs.voprf.layout import KeyLayout

_A, _B, _C = (Role(f"party_{letter}") for letter in "abc")
HALVES: Final = KeyLayout((_A, _B), 2)
"""k = k_a + k_b."""
ANY_TWO: Final = KeyLayout((_A, _B, _C), 2)
"""Two of three shares are enough."""


def declared(whole: Info, layout: KeyLayout, name: str, words: str) -> Info:
    """The declaration of `whole` with its key in shares: option 2c.

    Args:
        whole: the design with one holder of the key.
        layout: the roles, each at a party of its name.
        words: what the device is told, for the summary.
    """
    everyone = layout.needed == len(layout.roles)
    enough = "all" if everyone else f"any {layout.needed}"
    return replace(
        whole,
        name=name,
        version=1,
        option="2c",
        summary=f"{len(layout.roles)} parties have a share each of a VOPRF key; replies of {enough} of them "
        f"tell the device, and only it, {words}.",
        roles={role: Party(role) for role in layout.roles},
        apart=(frozenset(layout.roles),),
        quorum=0 if everyone else layout.needed,
    )
