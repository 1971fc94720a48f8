"""What designs share whose device asks a batched VOPRF: the round, the key and its shares, files, deltas.

round    the two messages: blinded elements there, evaluated ones and a proof back; the sessions behind them
layout   which roles hold the key, one or several a share each, and its limits
files    what a set-up and a role's file hold of keys and layers; how a list's rows become them
design   the state machine; a design adds what it asks for and how it looks outputs up
"""

from blindmatch_protocol.designs.voprf.design import VoprfDesign
from blindmatch_protocol.designs.voprf.files import KeyHolder, VoprfSetup
from blindmatch_protocol.designs.voprf.layout import (
    LIMITS,
    MATCHER,
    KeyLayout,
    Limits,
    PublicKeys,
)
from blindmatch_protocol.designs.voprf.round import Verified, VoprfRound, Waiting
