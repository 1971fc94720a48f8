"""exact-upload: the device sends the bare hash, the matcher says whether that very hash is listed.

device -- Ask: hash, or zeros if the picture is too poor --> matcher (list in the clear)
device <-- Told: label, or zeros if there is none ---------- matcher
"""

from typing import Annotated, ClassVar

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol import plain_list as plain
from blindmatch_protocol.codec import Fixed, Message, Nested, message
from blindmatch_protocol.errors import ProtocolError

MATCHER = bm.Role("matcher")
NOTHING = bm.Label(bytes(32), 0, bytes(16))


@message
class Ask(Message):
    TAG: ClassVar[int] = 0x80
    NAME: ClassVar[str] = "exact-upload/request"
    hash: Annotated[bytes, Fixed(32)]


@message
class Told(Message):
    TAG: ClassVar[int] = 0x81
    NAME: ClassVar[str] = "exact-upload/reply"
    label: Annotated[bm.Label, Nested(bm.Label)]


def asked(item, setup=None):
    return item.hash if item.quality >= 50 else bytes(32)


FACTS = (
    bm.Fact("every_hash", "each picture's hash if it is good enough", asked),
    bm.Fact("query_time", "that, and when, an account sent a picture", lambda item, setup: True),
)


class ExactUpload(bm.Design):
    info = bm.Info(
        name="exact-upload", version=1, option="1b", relation=bm.Equal(),
        summary="The device sends the bare hash; the matcher looks it up.",
        learns=frozenset({bm.Learner.SERVER, bm.Learner.DEVICE}), roles={MATCHER: bm.Party.MATCHER},
    )  # fmt: skip
    requests: ClassVar = {MATCHER: (Ask,)}
    replies: ClassVar = {MATCHER: (Told,)}

    def leakage(self):
        return tuple(bm.Leak(frozenset({bm.Party.MATCHER}), kind, FACTS) for kind in bm.Adversary)

    def publish(self, entries, parameters, rng, executor, out, progress=bm.no_progress):
        plain.write_epoch(self.info, parameters, len(entries), out)  # the same bytes for every device
        plain.write_list(self.info, entries, parameters, out, progress)  # for the matcher alone
        return bm.Published(setup=(plain.EPOCH_FILE,), roles={MATCHER: (plain.LIST_FILE,)})

    def open_setup(self, files, epoch=None):
        return plain.open_epoch(self.info, files, epoch)

    def epoch_of(self, setup):
        return setup

    def open_role(self, role, files):
        return plain.open_list(self.info, files)

    def enrol(self, rng):
        return bm.NoState()

    def start(self, state, setup, item, binding, rng):
        return bm.Started(state, bm.Send(asked(item), {MATCHER: Ask(asked(item))}))

    def receive(self, session, setup, replies, rng):
        label = replies[MATCHER].label
        if label == NOTHING:
            return bm.Done(bm.NoMatch())
        if label.entry_hash != session:
            raise ProtocolError(Told.NAME, "must be of the hash that was asked for", "label")
        return bm.Done(bm.Match(label))

    def answer(self, role, state, requests, rng, executor):
        hashes = np.frombuffer(b"".join(request.body.hash for request in requests), np.uint8).reshape(-1, 32)
        labels = state.match(hashes, 0)
        return bm.Answer([Told(label or NOTHING) for label in labels], [bm.Verdict(x) for x in labels])


DESIGN = ExactUpload()
