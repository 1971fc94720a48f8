"""Small designs for the servers' tests: one whose server learns and replies, one with vouchers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from blindmatch_protocol.codec import Fixed, Message, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import (
    Answer,
    Buffers,
    Design,
    EntrySource,
    Hidden,
    Info,
    Label,
    Leak,
    Learner,
    ListKnowledge,
    Near,
    NoState,
    Opener,
    Party,
    Progress,
    Published,
    Request,
    Role,
    SetParameters,
    Started,
    Step,
    Taken,
    Verdict,
    Visible,
    Workspace,
    no_progress,
)
from blindmatch_protocol.contract.publishing import Executor
from msgspec.structs import replace

ROLE = Role("matcher")
SECOND = Role("second")
MOST = 8 << 20


class Ask(Message, tag=0x71, name="dummy/request"):
    word: Annotated[bytes, Variable(MOST)]


class Told(Message, tag=0x72, name="dummy/reply"):
    word: Annotated[bytes, Variable(MOST)]


class Slip(Message, tag=0x73, name="dummy/voucher"):
    opens: Annotated[int, UInt(8)]
    label: Annotated[bytes, Fixed(77)]


class Pile:
    """An opener: a slip of 0 is hidden, 255 is no voucher; two visible ones of an account open both. Those
    from 100 on have one place.

    `taken` and `tried` say what it was given, `pause` is waited for in each `open`.
    """

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.tried: list[int] = []
        self.pause = threading.Event()
        self.pause.set()

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> Taken:
        assert isinstance(voucher, Slip)
        if voucher.opens == 255:
            raise ProtocolError("dummy/voucher", "must be below 255", "opens")
        self.taken.append(voucher.opens)
        place = b"one" if voucher.opens >= 100 else b""
        return Visible(voucher.label, place) if voucher.opens else Hidden()

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        self.tried.append(len(rows))
        self.pause.wait(240)
        return {index: Label.decode(row) for index, row in enumerate(rows)} if len(rows) > 1 else {}


DOOMED = "eve"
"""An account over whose vouchers the process of `opened_elsewhere` ends."""
SPINS = "spin"
WAITS = "wait"
"""Accounts over whose vouchers it never returns: it computes, and it waits."""


class Elsewhere(Pile):
    """As its base; the entry of a label is the process that opened it, and its niceness.

    Args:
        file: gets a line for each attempt: the process, and the account.
    """

    def __init__(self, file: Path | None = None) -> None:
        super().__init__()
        self._file = file

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> Taken:
        raise NotImplementedError

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(f"{os.getpid()} {account}\n")
        if account == DOOMED:
            os._exit(1)
        while account == SPINS:
            pass
        while account == WAITS:
            time.sleep(SECONDS)
        number = os.getpid() * 100 + os.nice(0)
        return {
            at: replace(label, entry_id=number) for at, label in super().open(account, period, rows).items()
        }


def opened_elsewhere(file: Path | None = None) -> Opener:
    return Elsewhere(file)


SECONDS = 3600.0


class Noting(Pile):
    """Notes in a file on how many vouchers it was tried."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        with self._file.open("a") as file:
            file.write(f"{len(rows)}\n")
        return super().open(account, period, rows)


class Dummy(Design[Any, NoState, Any, bytes]):
    """Replies with the state and the word; b"error" is refused, b"crash" crashes, b"hit" is learnt.

    `batches` and `words` say what it was asked, `may_answer` is waited for in each `answer`.
    """

    info = Info(
        name="dummy",
        version=3,
        option="0b",
        summary="replies with what it was asked",
        relation=Near(31),
        learns=frozenset({Learner.SERVER, Learner.DEVICE}),
        roles={ROLE: Party.MATCHER, SECOND: Party("matcher_b")},
    )
    requests = {ROLE: (Ask,), SECOND: (Ask,)}  # noqa: RUF012
    replies = {ROLE: (Told,), SECOND: (Told,)}  # noqa: RUF012
    vouchers = (Slip,)

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.words: list[bytes] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.pile = Pile()

    def leakage(self) -> tuple[Leak, ...]:
        return ()

    def list_knowledge(self, parties: frozenset[Party]) -> ListKnowledge:
        return ListKnowledge.NOTHING

    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        for name in ("setup", "key"):
            out.create(name).write(b"%s of %d" % (name.encode(), parameters.epoch))
        return Published(("setup",), {ROLE: ("key",), SECOND: ("key",)})

    def open_setup(self, files: Buffers, epoch: int | None = None) -> bytes:
        return bytes(files["setup"])

    def epoch_of(self, setup: bytes) -> int:
        return int(setup.split()[-1])

    def open_role(self, role: Role, files: Buffers) -> bytes:
        key = bytes(files["key"])
        if not key.startswith(b"key of "):
            raise SetFileError("key: not a key")
        return key

    def open_opener(self, files: Buffers) -> Opener:
        return self.pile

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: Any, item: Any, binding: Any, rng: Randomness
    ) -> Started[NoState, Any]:
        raise NotImplementedError

    def receive(
        self, session: Any, setup: Any, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Any]:
        raise NotImplementedError

    def answer(
        self,
        role: Role,
        state: bytes,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        words = [request.body.word for request in requests if isinstance(request.body, Ask)]
        self.batches.append(len(words))
        self.words += words
        self.may_answer.wait(240)
        if b"crash" in words:
            raise ValueError("crash: a secret")
        return Answer([_reply(state, word) for word in words], [_verdict(word) for word in words])


def _reply(state: bytes, word: bytes) -> Told | ProtocolError:
    if word == b"error":
        return ProtocolError("dummy/request", "must not be error", "word")
    return Told(word if len(word) > 100 else state + b" " + word)


def _verdict(word: bytes) -> Verdict:
    if word != b"hit":
        return Verdict(None)
    return Verdict(LABEL, (40, 60, bytes(range(240)) * 30))


LABEL = Label(bytes(range(32)), 7, b"s" * 16)
