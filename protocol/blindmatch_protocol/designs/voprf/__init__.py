"""What designs share whose device asks a batched VOPRF: the round, the key and its shares, files, deltas."""

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
