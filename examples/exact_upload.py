"""exact-upload: the device sends the bare hash, the matcher says whether that very hash is listed.

device -- Ask: hash, or zeros if the picture is too poor --> matcher (list in the clear)
device <-- Told: label, or zeros if there is none ---------- matcher
"""

from typing import Annotated, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.facts import QUERY_TIME
from blindmatch_protocol.designs.plain_scan import PlainScan

MATCHER = bm.Role("matcher")


class Ask(bm.Message):
    TAG: ClassVar[int] = 0x80
    NAME: ClassVar[str] = "exact-upload/request"
    hash: Annotated[bytes, bm.Fixed(32)]


class Told(bm.Message):
    TAG: ClassVar[int] = 0x81
    NAME: ClassVar[str] = "exact-upload/reply"
    label: Annotated[bm.Label, bm.Nested(bm.Label)]


def asked(item, setup=None):
    return item.hash if item.quality >= 50 else bytes(32)


FACTS = (
    bm.Fact(
        "every_hash",
        "each picture's hash if it is good enough",
        bm.Severity.HASH,
        asked,
        frozenset({bm.Shows.HASH}),
    ),
    QUERY_TIME,
)


class ExactUpload(PlainScan):
    info = bm.Info(
        name="exact-upload", version=1, option="1b", relation=bm.Equal(),
        summary="The device sends the bare hash; the matcher looks it up.",
        learns=frozenset({bm.Learner.SERVER, bm.Learner.DEVICE}), roles={MATCHER: bm.Party.MATCHER},
    )  # fmt: skip
    requests: ClassVar = {MATCHER: (Ask,)}
    replies: ClassVar = {MATCHER: (Told,)}

    def leakage(self):
        return tuple(bm.Leak(frozenset({bm.Party.MATCHER}), kind, FACTS) for kind in bm.Adversary)

    def start(self, state, setup, item, binding, rng):
        return bm.Started(state, bm.Send(asked(item), {MATCHER: Ask(asked(item))}))

    def receive(self, session, setup, replies, rng):
        label = replies[MATCHER].label
        if label == bm.NO_LABEL:
            return bm.Done(bm.NoMatch())
        if label.entry_hash != session:
            raise bm.ProtocolError(Told.NAME, "must be of the hash that was asked for", "label")
        return bm.Done(bm.Match(label))

    def judged(self, state, body):
        label = state.match(body.hash, 0)
        return Told(label or bm.NO_LABEL), bm.Verdict(label)


DESIGN = ExactUpload()
