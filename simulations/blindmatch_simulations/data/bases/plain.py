"""exact-upload protects nothing: the device sends the bare hash, the matcher says whether it is listed.

device -- Ask: hash, or zeros if the picture is too poor --> matcher, which sees it, and has the list
device <-- Told: label, or zeros if there is none ---------- matcher, which learns the outcome, too

It is short, and shows how the parts fit together. `FACTS` and `leakage` declare what it shows to whom: the
matcher gets the hash of every picture, listed or not.
"""

from typing import Annotated, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.facts import FORCED_REPORT, QUERY_TIME, any_hash
from blindmatch_protocol.designs.plain_scan import PlainScan

MATCHER = bm.Role("matcher")


# Messages: a class each, with a tag from 0x80 on, a name, and an encoding for every field.
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


# What the matcher learns: two pictures for which `asked` is the same are the same to it.
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
        # A matcher that lies can answer with a match that is none: the device then reports the picture.
        matcher = frozenset({bm.Party.MATCHER})
        device = frozenset({bm.Party.DEVICE})
        lying = (*FACTS, FORCED_REPORT)
        return (
            *(bm.Leak(matcher, kind, FACTS) for kind in bm.Adversary),
            bm.Leak(matcher | {bm.Party.CENTRE}, bm.Adversary.MALICIOUS, lying),
            bm.Leak(device, bm.Adversary.MALICIOUS, (any_hash(0),)),
        )

    # On the device: ask, then look at the reply. That a label is of the hash that was sent is checked here.
    def start(self, state, setup, item, binding, rng):
        return bm.Started(state, bm.Send(asked(item), {MATCHER: Ask(asked(item))}))

    def receive(self, session, setup, replies, rng):
        label = replies[MATCHER].label
        if label == bm.NO_LABEL:
            return bm.Done(bm.NoMatch())
        if label.entry_hash != session:
            raise bm.ProtocolError(Told.NAME, "must be of the hash that was asked for", "label")
        return bm.Done(bm.Match(label))

    # The matcher: its reply to one request, and what it learns by it.
    def judged(self, state, body):
        label = state.match(body.hash, 0)
        return Told(label or bm.NO_LABEL), bm.Verdict(label)


DESIGN = ExactUpload()
