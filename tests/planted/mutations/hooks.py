"""Designs with hooks around their steps, each of which changes nothing; and what a planted cheat is: a design
that overrides some of them, which a check must find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar

from blindmatch_client.device import Device
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Variable, decode_any
from blindmatch_protocol.codec.randomness import Randomness, replayed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.designs.hash_upload import HashUpload
from blindmatch_protocol.designs.oprf_psi.design import OprfPsi
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from blindmatch_simulations.evaluation.attacks.adversary import AS_BUILT, Adversary, Claim, Means, Weakness
from blindmatch_simulations.evaluation.conformance.fixtures import CLOCKS, Clocks
from msgspec import Struct
from msgspec.structs import replace

CHEAT = "cheat"
"""The name of every cheat."""


class About(Redacted, Struct, frozen=True):
    """What a device knows that starts: its state, the set-up, the picture; what it is about to send, and a
    salt that goes with it."""

    state: Any
    setup: Any
    item: bm.Item
    sent: bytes = b""
    salt: bytes = b""


class Again(Struct, frozen=True):
    """A session that has ended, and is not over."""

    end: bm.Done | bm.Ready


class Hooked(bm.Design[Any, Any, Any, Any]):
    """Comes before the honest design among a cheat's bases."""

    def asks(self, about: About) -> bool:
        """Is anything sent for this picture?"""
        return True

    def drawn(self, about: About, rng: Randomness) -> Randomness:
        """What `start` draws from."""
        return rng

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        """The first round, as it is sent."""
        return step

    def kept(self, about: About, state: Message) -> Message:
        """The account's state after the picture."""
        return state

    def start(
        self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Any]:
        about = About(state, setup, item)
        if not self.asks(about):
            return bm.Started(state, bm.Done(bm.NoMatch()))
        started = super().start(state, setup, item, binding, self.drawn(about, rng))  # type: ignore[safe-super]
        step = self.sent(about, started.step, rng) if isinstance(started.step, bm.Send) else started.step
        return bm.Started(self.kept(about, started.state), step)

    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        """The step that follows on verified replies; `Again` is over with the next ones."""
        return step

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        if isinstance(session, Again):
            return session.end
        step = super().receive(session, setup, replies, rng)  # type: ignore[safe-super]
        then: bm.Step[Any] = self.received(step, session, setup, replies, rng)
        return then

    def ended(self, outcome: bm.Outcome, session: Any) -> bm.Outcome:
        """The outcome, as it is worked out."""
        return outcome

    def conclude(self, session: Any, setup: Any) -> bm.Outcome:
        return self.ended(super().conclude(session, setup), session)

    def nonce(self, requests: Sequence[bm.Request]) -> bytes | None:
        """64 bytes that a role draws for each body, if they are always the same for the same `requests`."""
        return None

    def handed(self, state: Any, requests: Sequence[bm.Request]) -> Sequence[bm.Request]:
        """What the honest role is asked instead."""
        return requests

    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        """What the role answers instead of the honest answer."""
        return answer

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        nonce = self.nonce(requests)
        drawn = rng if nonce is None else replayed(nonce * len(requests))
        answer = super().answer(role, state, self.handed(state, requests), drawn, executor)  # type: ignore[safe-super]
        return self.answered(state, requests, answer)

    def keyed(self, rng: Randomness) -> Randomness:
        """What the key is drawn from."""
        return rng

    def published(self, made: bm.Published, entries: bm.EntrySource, out: bm.Workspace) -> bm.Published:
        """The files of an epoch."""
        return made

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: bm.Workspace,
        progress: Any = bm.no_progress,
    ) -> bm.Published:
        made = super().publish(entries, parameters, self.keyed(rng), executor, out, progress)  # type: ignore[safe-super]
        return self.published(made, entries, out)

    def change(self, adds: bm.EntrySource, removes: Sequence[int]) -> tuple[bm.EntrySource, Sequence[int]]:
        """What an update adds and removes."""
        return adds, removes

    def updated(self, made: bm.Published, adds: bm.EntrySource, out: bm.Workspace) -> bm.Published:
        """The files of an update."""
        return made

    def update(
        self,
        previous: Any,
        adds: bm.EntrySource,
        removes: Sequence[int],
        out: Any,
        rng: Randomness,
        *how: Any,
    ) -> bm.Published:
        made = super().update(previous, *self.change(adds, removes), out, rng, *how)
        return self.updated(made, adds, out)


class Psi(Hooked, OprfPsi):
    """oprf-psi under another name."""

    info = replace(OprfPsi.info, name=CHEAT)


class Upload(Hooked, HashUpload):
    """hash-upload under another name."""

    info = replace(HashUpload.info, name=CHEAT)


class SmallTokens(Hooked, TokenPsi):
    """token-psi under another name, with as few tokens as its games are played with."""

    info = replace(
        TokenPsi.info,
        name=CHEAT,
        parameters=tuple(
            replace(one, default=2) if one.name in ("bands", "probes") else one
            for one in TokenPsi.info.parameters
        ),
    )


class Padded(Message, tag=0x70, name="cheat/request"):
    """A request with room for what does not belong there."""

    request: Annotated[bytes, Variable(4096)]
    padding: Annotated[bytes, Variable(64)]
    salt: Annotated[bytes, Variable(64)]


class PaddedPsi(Psi):
    """oprf-psi with every request inside of another message."""

    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Padded,)}

    def padding(self, about: About, rng: Randomness) -> bytes:
        """What the request bears beside what it must."""
        return b""

    def salt(self, rng: Randomness) -> bytes:
        """What it bears before that, and `about.salt` has."""
        return b""

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        whole = replace(about, sent=step.bodies[MATCHER].encode(), salt=self.salt(rng))
        return bm.Send(step.session, {MATCHER: Padded(whole.sent, self.padding(whole, rng), whole.salt)})

    def handed(self, state: Any, requests: Sequence[bm.Request]) -> Sequence[bm.Request]:
        bodies: list[Any] = [asked.body for asked in requests]
        kinds = (oprf_psi.Request, CertifyRequest)
        return [bm.Request(decode_any(kinds, body.request, CHEAT)) for body in bodies]


K = TypeVar("K", bound=Hooked)


def variant(of: type[K], **hooks: Any) -> type[K]:
    """A design with some of its hooks replaced."""
    return type("Variant", (of,), hooks)


def poor(about: About) -> bool:
    return about.item.quality < Psi.info.relation.minimum_quality


D = TypeVar("D", bound=type[Hooked])


FEW: Final = (30, 30)
"""Training and held-out runs of a game where a test looks for one cheat."""


class Search(Struct, frozen=True):
    """What must find a cheat.

    Attributes:
        check: that must fail, by name.
        where: what the failing step must say, such as a class of pairs.
        clocks: those that a cheat which takes its time moves.
        device: the kind of device, for a cheat that is one.
        planted: a weakness of the build, planted while the design is checked.
        runs: of a game, for a cheat that tells too little for the fewer runs of the tests.
    """

    check: str
    where: str = ""
    clocks: Clocks = CLOCKS
    device: type[Device] = Device
    planted: Weakness = AS_BUILT
    runs: tuple[int, int] = FEW


Cheat: TypeAlias = Adversary[Search, Callable[[], AnyDesign]]
"""A planted cheat: the adversary's move is all checks, its weakness a design that must not pass them."""
_CLAIM: Final = Claim(
    "how many are caught, each by the check that must catch it", "docs/reference/conformance.md"
)
_AUTHOR: Final = Means(frozenset({Party.DEVICE, Party.MATCHER, Party.CURATOR}), has="the design")

CHEATS: Final[list[Cheat]] = []
"""At least one for every way in which a claim can be wrong that this suite says it finds."""


def planted(name: str, check: str, where: str = "", **search: Any) -> Callable[[D], D]:
    """Plant a design as the cheat called `name`; the rest as of `Search`."""

    def plant(kind: D) -> D:
        CHEATS.append(Adversary(name, _AUTHOR, _CLAIM, "a run", Search(check, where, **search), kind))
        return kind

    return plant
