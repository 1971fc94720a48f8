"""Witnesses that others run: a log whose only witnesses speak HTTPS, honest ones and hostile ones."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from blindmatch_proofs.checkpoint import VerifierKey
from blindmatch_proofs.epoch import SplitView, View
from blindmatch_proofs.tlog import Accepted, TlogProof, build_policy
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.log import witness
from blindmatch_server.log.service import LogConfig, open_log
from blindmatch_server.log.tree_store import TreeStore
from blindmatch_server.log.witness import Cosigning, SubmissionPrefix, WitnessAt, ask_over_https, trust_of
from support.http_witness import HttpWitness, certificate_for
from support.logs import MemoryLog

from .deployment import OPERATOR, SECONDS, Client, Deployment, refused
from .test_log import EPOCHS, KEY, LOG, SEED, STATUS, append, grown, leaf, rules

PUBLIC = KEY.key.public


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that is late since the machine is counts all the same."""
    monkeypatch.setattr(witness, "SECONDS", SECONDS)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A server's key and certificate, and the certificate alone."""
    path = tmp_path_factory.mktemp("witness") / "server.pem"
    return path, certificate_for(path)


@dataclass
class Scene:
    """A log whose witnesses are all at the other end of HTTPS."""

    folder: Path
    identity: tuple[Path, str]
    witnesses: Sequence[HttpWitness]
    deployment: Deployment = field(default_factory=Deployment)

    @property
    def policy(self) -> Any:
        keys = [VerifierKey.parse(one.text) for one in self.witnesses]
        return build_policy([KEY.key], {key.name: [key] for key in keys}, len(keys))

    @asynccontextmanager
    async def running(self, **urls: str) -> AsyncIterator[Client]:
        path, root = self.identity
        with ExitStack() as stack:
            at = []
            for one in self.witnesses:
                url = urls.get(one.name) or f"https://127.0.0.1:{stack.enter_context(one.serving(path))}/w"
                ask = partial(ask_over_https, SubmissionPrefix.parse(url), trust_of(root))
                at.append(WitnessAt(one.name, VerifierKey.parse(one.text), ask))
            config = LogConfig(self.folder / "log", SEED, rules, at, self.policy.is_quorum)
            async with (
                self.deployment.server(LOG, partial(open_log, config)) as port,
                self.deployment.client(OPERATOR, LOG, port) as client,
            ):
                yield client


def two(known: Callable[[str], bytes | None] = {EPOCHS: PUBLIC}.get) -> list[HttpWitness]:
    return [HttpWitness("north", known), HttpWitness("south", known)]


async def test_foreign_witnesses_alone_cosign_what_devices_take_and_find_a_second_history(
    tmp_path: Path, identity: tuple[Path, str]
) -> None:
    scene = Scene(tmp_path, identity, two())
    async with scene.running() as client:
        for epoch in (1, 2):
            proof = await append(client, epoch - 1, leaf(epoch).encode())
        shutil.copytree(tmp_path / "log", tmp_path / "backup")
        proof = await append(client, 2, leaf(3).encode())
    found = scene.policy.accept(proof.note, int(scene.deployment.clock()), 3600)
    assert isinstance(found, Accepted) and found.witnesses == {"north", "south"}
    # each was asked from size 0 about the empty log, and was never asked twice for a size that it had said
    assert [one.split(b"\n", 1)[0] for one in scene.witnesses[0].asked] == [
        b"old 0",
        b"old 0",
        b"old 1",
        b"old 2",
    ]
    shutil.rmtree(tmp_path / "log")
    shutil.copytree(tmp_path / "backup", tmp_path / "log")
    store = TreeStore(tmp_path / "log" / EPOCHS.replace("/", "_"), EPOCHS)
    grown(store, [leaf(3, entries=9).encode()])
    for more in ([], [leaf(4).encode()]):  # as long as what they have kept, and longer: 409, and 422
        if more:
            grown(store, more)
        async with scene.running() as client:
            status, words, _ = await refused(append(client, 3 + len(more), leaf(5).encode()))
            assert status is STATUS.FAILED_PRECONDITION
            assert "north, south kept" in words and "newest state" in words
            forked = TlogProof.parse((await client.one("Log/Prove", prove(2))).proof)
        assert isinstance(scene.policy.accept(forked.note, int(scene.deployment.clock()), 3600), Failed)
        assert [one.name for one in forked.note.signatures] == [EPOCHS]
        if not more:
            views = tuple(View(one.note.encode()) for one in (proof, forked))
            split = SplitView(KEY.key, views)  # type: ignore[arg-type]
            assert split.verify(KEY.key) == Passed()


def prove(index: int) -> Any:
    from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

    return wire.ProveRequest(origin=EPOCHS, index=index)


async def test_a_witness_that_does_not_know_the_log_or_refuses_its_key_stops_it_and_is_quoted(
    tmp_path: Path, identity: tuple[Path, str]
) -> None:
    for folder, known, said in (("a", {}, "404: unknown"), ("b", {EPOCHS: bytes(32)}, "403: no known")):
        scene = Scene(tmp_path / folder, identity, two(known.get))
        async with scene.running() as client:
            status, words, _ = await refused(append(client, 0, leaf(1).encode()))
        assert status is STATUS.UNAVAILABLE and said in words and "north" in words


async def test_a_log_that_lost_its_memory_of_sizes_asks_again_from_the_one_it_is_told(
    tmp_path: Path, identity: tuple[Path, str]
) -> None:
    scene = Scene(tmp_path, identity, two())
    for epoch in (1, 2):
        async with scene.running() as client:
            proof = await append(client, epoch - 1, leaf(epoch).encode())
            assert len(proof.note.signatures) == 3
    olds = [one.split(b"\n", 1)[0] for one in scene.witnesses[1].asked]
    assert olds == [b"old 0", b"old 0", b"old 0", b"old 1", b"old 1"]


# --- hostile ones ------------------------------------------------------------------------------------------

NOTE = MemoryLog([b"a", b"b"], KEY)
WITNESS = HttpWitness("north", {EPOCHS: PUBLIC}.get, lambda: 1_800_000_000.0)


def asked(identity: tuple[Path, str], url: str) -> Any:
    """What becomes of one checkpoint of two leaves, given to the witness at `url` alone."""
    events: list[str] = []
    ask = partial(ask_over_https, SubmissionPrefix.parse(url), trust_of(identity[1]))
    at = WitnessAt("north", VerifierKey.parse(WITNESS.text), ask)
    cosigning = Cosigning([at], lambda names: True, EventLog("log", sink=events.append), WITNESS.clock)
    note = asyncio.run(cosigning.cosigned(NOTE.note(()), NOTE.tree.node))
    return len(note.signatures), "".join(events)


@contextmanager
def answering(
    identity: tuple[Path, str], said: Sequence[bytes] | Callable[[], Iterator[bytes]]
) -> Iterator[str]:
    """A TLS server that reads a request and writes what it is told, whatever that is; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity[0])
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                bare, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(bare, server_side=True) as stream:
                    got = b""
                    while NOTE.note(()).encode()[-40:] not in got and (part := stream.recv(1 << 16)):
                        got += part
                    for one in said() if callable(said) else said:
                        stream.sendall(one)
                        if ended.is_set():
                            break
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/w"
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def http(status: str, body: bytes = b"", *headers: str) -> list[bytes]:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return ["\r\n".join(lines).encode() + body]


def cosigned(at: float | None = None, text: str = NOTE.note(()).text) -> bytes:
    return WITNESS.line(text, None if at is None else int(at)).encode()


TEXT = NOTE.note(()).text
OLD = MemoryLog([b"a"], KEY).note(()).text
OTHER = HttpWitness("south", dict[str, bytes]().get, WITNESS.clock)
IMPOSTOR = HttpWitness("south", dict[str, bytes]().get, WITNESS.clock)
IMPOSTOR.name = WITNESS.name
IMPOSTOR.key_id = WITNESS.key_id
OK = b"HTTP/1.1 200 OK\r\n"
REDIRECT = "Location: https://127.0.0.1:1/w/add-checkpoint"
ANSWERS: dict[str, tuple[Any, str]] = {
    "another key under its name and id": (http("200 OK", IMPOSTOR.line(TEXT).encode()), "its cosignature"),
    "another witness alone": (http("200 OK", OTHER.line(TEXT).encode()), "its cosignature"),
    "an old checkpoint": (http("200 OK", cosigned(text=OLD)), "its cosignature"),
    "a cosignature of an hour ago": (http("200 OK", cosigned(WITNESS.clock() - 3600)), "date its"),
    "a cosignature of tomorrow": (http("200 OK", cosigned(WITNESS.clock() + 86_400)), "date its"),
    "a time of 2^63": (http("200 OK", b"\xe2\x80\x94 north " + b"A" * 104 + b"\n"), "its cosignature"),
    "no line end": (http("200 OK", cosigned()[:-1]), "its cosignature"),
    "a line that is none": (http("200 OK", cosigned() + b"junk\n"), ""),
    "nothing": (http("200 OK"), "its cosignature"),
    "no HTTP": ([b"\x00\xff" * 99], "BadStatusLine"),
    "another status": (http("204 No Content"), "refused with 204"),
    "a status that is none": (http("20x OK", cosigned()), "BadStatusLine"),
    "a redirect": (http("307 Temporary Redirect", b"", REDIRECT), "refused with 307"),
    "a redirect with lines": (http("308 Permanent Redirect", cosigned(), REDIRECT), "refused with 308"),
    "a size without its line end": (http("409 Conflict", b"1"), "a line end"),
    "a size that is none": (http("409 Conflict", b"01\n"), "decimal"),
    "a negative length": ([OK + b"Content-Length: -1\r\n\r\n" + cosigned(text=OLD)], "its cosignature"),
    "a body cut off": ([OK + b"Content-Length: 500\r\n\r\n" + cosigned()[:60]], "its cosignature"),
    "a chunk that is none": ([OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], "IncompleteRead"),
    "words with controls": (http("403 Forbidden", b"\x1b[2J\n\x07no"), "403: [2Jno"),
    "a huge body": (http("200 OK", bytes(1 << 20)), "at most 65536 bytes"),
    "a header without end": ([OK + b"A: " + b"a" * 70_000], "LineTooLong"),
    "headers without end": ([OK + b"A: a\r\n" * 500], "HTTPException"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_gives_no_cosignature_and_its_reason_is_logged(
    identity: tuple[Path, str], name: str
) -> None:
    said, reason = ANSWERS[name]
    with answering(identity, said) as url:
        signatures, events = asked(identity, url)
    assert signatures == (1 if reason else 2)
    assert reason in events and ("not-cosigned" in events) is bool(reason)


def test_one_that_never_ends_its_answer_is_left_in_time_and_keeps_no_thread(
    identity: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends a little, again and again, so that no single wait is too long."""
    monkeypatch.setattr(witness, "SECONDS", 0.2)

    def drip(first: bytes, again: bytes) -> Iterator[bytes]:
        yield first
        pause = threading.Event()
        while True:
            pause.wait(0.02)
            yield again

    endless = {
        "status line": (b"HTTP/1.1 2", b"0"),
        "continues": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "headers": (b"HTTP/1.1 200 OK\r\nA: ", b"a"),
        "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"\xe2\x80\x94"),
        "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    }
    for first, again in endless.values():
        with answering(identity, partial(drip, first, again)) as url:
            until = witness.time.monotonic() + 0.2
            with pytest.raises(TimeoutError):  # in the thread itself: nothing outside it ends it
                witness._post(SubmissionPrefix.parse(url), trust_of(identity[1]), b"body", until)
            signatures, events = asked(identity, url)
        assert signatures == 1 and any(one in events for one in ("TimeoutError", "in time", "timed out"))


async def test_slow_witnesses_keep_no_thread_from_an_honest_one(
    tmp_path: Path, identity: tuple[Path, str]
) -> None:
    """A log on a small machine has few threads, of which every slow witness would hold one."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    honest = HttpWitness("north", {EPOCHS: PUBLIC}.get)

    def hold() -> Iterator[bytes]:
        pause = threading.Event()
        while not honest.asked:
            pause.wait(0.02)
            yield b"HTTP/1.1 100 Continue\r\n\r\n"

    events: list[str] = []
    with answering(identity, hold) as slow, honest.serving(identity[0]) as port:
        urls = (("slow-1", slow), ("slow-2", slow), ("north", f"https://127.0.0.1:{port}/w"))
        trust = trust_of(identity[1])
        at = [
            WitnessAt(
                name,
                VerifierKey.parse(honest.text),
                partial(ask_over_https, SubmissionPrefix.parse(url), trust),
            )
            for name, url in urls
        ]
        cosigning = Cosigning(at, lambda names: True, EventLog("log", sink=events.append), honest.clock)
        note = await cosigning.cosigned(NOTE.note(()), NOTE.tree.node)
    assert len(note.signatures) == 2 and "slow-1" in "".join(events)


def test_who_has_no_certificate_of_the_roots_or_another_name_is_not_asked(
    identity: tuple[Path, str], tmp_path: Path
) -> None:
    strange = (tmp_path / "a.pem", "")
    elsewhere = (tmp_path / "b.pem", "")
    certificate_for(strange[0])
    other = certificate_for(elsewhere[0], "127.0.0.9")
    with answering(strange, http("200 OK", cosigned())) as url:
        signatures, events = asked(identity, url)
        assert signatures == 1 and "CERTIFICATE_VERIFY_FAILED" in events
        assert asked(("", ""), url)[0] == 1  # type: ignore[arg-type]
    with answering(elsewhere, http("200 OK", cosigned())) as url:
        signatures, events = asked((elsewhere[0], other), url)
        assert signatures == 1 and "IP address mismatch" in events
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]
        thread = threading.Thread(target=lambda: plain.accept()[0].sendall(http("200 OK", cosigned())[0]))
        thread.start()
        signatures, events = asked(identity, f"https://127.0.0.1:{port}/w")
        thread.join()
    assert signatures == 1 and "SSL" in events


def test_no_proxy_is_asked(identity: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with answering(identity, http("200 OK", cosigned())) as url:
        assert asked(identity, url)[0] == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://w.example/", "https://", "w.example", "https://w.example?a", "https://w.example/#a",
        "https://user@w.example/", "https://w.example:0/", "https://w.example:70000/", "https://w.example:x/",
        "https://w.example/a b", "https://w.example/\r\nHost: x", "https://w\u0455tness.example/", "file:///etc",
        "https://w.example\\@other.example/", "https://[::1/", "https://w.example/" + "a" * 3000,
    ],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ProtocolError, match="must be https"):
        SubmissionPrefix.parse(url)


def test_a_submission_prefix_has_a_host_a_port_and_the_call_below_its_path() -> None:
    assert SubmissionPrefix.parse("https://W.example/a/") == SubmissionPrefix(
        "w.example", 443, "/a/add-checkpoint"
    )
    assert SubmissionPrefix.parse("https://[::1]:8") == SubmissionPrefix("::1", 8, "/add-checkpoint")
    with pytest.raises(ProtocolError, match="PEM"):
        trust_of("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    with pytest.raises(ProtocolError, match="PEM"):
        trust_of("junk")
