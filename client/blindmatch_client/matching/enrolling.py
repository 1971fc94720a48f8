"""What the account enrols with: made once for each key of the set-up, sent until every role holds it.

    set-up in use --> enrolled under its key? --no--> enrol, enrolment --> files, then state and row together
    before a picture, and whenever a role asks --> Enrolled: whole? --no--> Enrol, from where it stopped

Nothing of it depends on a picture. What is sent stays here as files, so that the same bytes go on after a
break, and again to a role that lost them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Final

from blindmatch_protocol.codec import Bool, Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Recording
from blindmatch_protocol.contract import Enrolment, Role
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.parts import ENROLMENT, cut, pieces
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import ENROL, ENROLLED
from blindmatch_client.errors import MisbehavedError
from blindmatch_client.matching.detector import StateKeeper, guarded
from blindmatch_client.settings.base import Base
from blindmatch_client.store.files import Files
from blindmatch_client.trace import EnrolmentTrace, Purpose

ENROL_DEADLINE_S: Final = 600.0
KEY_BYTES_MOST: Final = 64
_FOLDER: Final = "enrolments"


class _Body(Message, tag=0x1E, name="device/enrolment-body"):
    """What one role is to hold, and the file it lies in."""

    role: Annotated[str, Text(64)]
    size: Annotated[int, UInt(64)]
    digest: Annotated[bytes, Fixed(32)]
    file: Annotated[str, Text(64)]


class _Made(Message, tag=0x1F, name="device/enrolment"):
    """An enrolment: its key, the state after it, whether all roles hold it, and what they are to hold."""

    key: Annotated[bytes, Variable(KEY_BYTES_MOST)]
    state: Annotated[bytes, Variable(64 << 20)]
    done: Annotated[bool, Bool()]
    bodies: Annotated[tuple[_Body, ...], Sequence(Nested(_Body), 16)]


class Enrolling:
    """The enrolment of one account with one design.

    Attributes:
        sent: how many enrolments this object has sent.
    """

    def __init__(self, base: Base) -> None:
        design, info = base.design, base.design.info
        self._design = design
        self._egress = base.egress
        self._store = base.store
        self._rng = base.rng
        self._trace = base.trace
        self._row = f"enrolment/{info.name}/{info.version}"
        kept = base.store.get(self._row) if design.enrolments else None
        self._made = None if kept is None else _Made.decode(kept)
        folder = base.folder / "setup" / _FOLDER / f"{info.name}-{info.version}"
        self._files = Files(folder) if design.enrolments else None
        self.sent = 0

    @property
    def done(self) -> bool:
        """Did every role say that it holds what it is to hold?"""
        return self._made is None or self._made.done

    def use(self, setup: Any, keeper: StateKeeper) -> None:
        """Enrol under the key of a set-up unless that was done; sends nothing.

        Args:
            setup: that is about to be used.
            keeper: of the device state that goes with it.

        Raises:
            DesignError: if the design fails in it.
            StoreError: if it cannot be kept.
        """
        if self._files is None:
            return
        key = guarded(self._design, "enrolment_key", lambda: self._design.enrolment_key(setup))
        if self._made is None or self._made.key != key:
            self._keep(key, setup, keeper, self._files)
        elif keeper.load() is None:
            keeper.save(self._made.state)

    def complete(self) -> None:
        """Send what a role does not hold.

        Raises:
            ServiceError: if a role cannot be reached, refuses or misbehaves; call it again then.
        """
        if self._made is None:
            return
        for body in self._made.bodies:
            self._complete(self._made.key, body)
        if not self._made.done:
            self._made = _Made(self._made.key, self._made.state, True, self._made.bodies)
            self._store.put(self._row, self._made.encode())

    def _keep(self, key: bytes, setup: Any, keeper: StateKeeper, files: Files) -> None:
        """Enrol; the files are there before the row that names them, and the state comes with the row."""
        tape = Recording(self._rng)
        before = guarded(self._design, "enrol", lambda: self._design.enrol(self._rng))
        made: Enrolment[Any] = guarded(
            self._design, "enrolment", lambda: self._design.enrolment(before, setup, tape.rng)
        )
        self._check(key, made)
        encoded = {role: body.encode() for role, body in sorted(made.bodies.items())}
        bodies = tuple(
            _Body(role, len(data), sha256(data).digest(), files.write(pieces(data)))
            for role, data in encoded.items()
        )
        state = made.state.encode()
        reach("enrolling.kept.before")
        kept = _Made(key, state, False, bodies)
        with self._store.transaction():
            keeper.save(state)
            self._store.put(self._row, kept.encode())
        self._made = kept
        reach("enrolling.kept.after")
        files.keep_only({body.file for body in bodies})
        self._trace(EnrolmentTrace(key, before.encode(), tape.tape(), encoded))

    def _check(self, key: bytes, made: Enrolment[Any]) -> None:
        taken = self._design.enrolments
        fits = made.bodies.keys() == taken.keys() and all(
            type(body) in taken[role] for role, body in made.bodies.items()
        )
        if not fits or len(key) > KEY_BYTES_MOST:
            raise DesignError(f"design {self._design.info.name} enrols otherwise than it declares")

    def _complete(self, key: bytes, body: _Body) -> None:
        info, role = self._design.info, Role(body.role)
        head = pb.EnrolmentHead(
            design=info.name, version=info.version, role=role, key=key, size=body.size, sha256=body.digest
        )
        party = info.roles[role]
        ask = partial(self._egress.unary, Call(party, ENROLLED, Purpose.ENROLMENT, idempotent=True), head)
        if _holds(ask(), body):
            return
        call = Call(party, ENROL, Purpose.ENROLMENT, None, True, ENROL_DEADLINE_S)
        held = self._egress.upload(call, lambda: self._parts(head, body, ask().received))
        if not _holds(held, body):
            raise MisbehavedError(party, "says that it holds another enrolment than it was sent")
        self.sent += 1

    def _parts(self, head: pb.EnrolmentHead, body: _Body, offset: int) -> Iterator[pb.EnrolPart]:
        """The body from `offset` on, or all of it if there is no such place."""
        assert self._files is not None
        data = self._files.path(body.file).read_bytes()
        at = offset if offset <= len(data) else 0
        return cut(ENROLMENT, pb.EnrolPart(head=head, offset=at), len(data), pieces(data, at))


def _holds(held: pb.Held, body: _Body) -> bool:
    return (held.size, held.sha256) == (body.size, body.digest)
