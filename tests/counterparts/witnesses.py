"""Foreign witnesses: one alone cosigns a deployment's log, and finds a second history."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner, VerifierKey
from blindmatch_proofs.epoch import SplitView, View
from blindmatch_proofs.tlog import AddCheckpoint, TlogProof
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import EntrySource
from blindmatch_server.epochs.published import read_logged
from blindmatch_server.log.witness import SubmissionPrefix, ask_over_https, trust_of
from blindmatch_simulations.testbed.deployment.operators import OperatorError
from blindmatch_simulations.testbed.deployment.transparency import (
    EPOCHS,
    LOG,
    ForeignWitness,
    TransparencyLog,
    log_seed,
    make_log,
)
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from blindmatch_simulations.testbed.scenario.world import World
from support.command import in_process
from support.http_witness import certificate_for
from support.voprf_world import entries

from counterparts.environments import DisagreementError, NotRunError, check, debian, last_line, run, virtual

DESIGN = "hash-upload"
NAME = "witness.example/counterpart"
START_S = 60
Serve = Callable[[VerifierKey, Path, int], AbstractContextManager[None]]
"""Runs a witness of the log of this key on a port of loopback, over plain HTTP."""


@contextmanager
def tls_before(certificate: Path, plain: int) -> Iterator[int]:
    """A TLS server before a plain port of loopback, as a proxy stands before a witness; its own port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    port = []
    ready = threading.Event()
    ended = asyncio.Event()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", plain)
        await asyncio.gather(pipe(reader, outer), pipe(inner, writer), return_exceptions=True)

    async def hold() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(hold()))
    thread.start()
    ready.wait()
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def process(command: list[object], port: int, output: Path, **more: object) -> Iterator[None]:
    """A program that listens on `port`, and what it says; ended afterwards."""
    argv = list(map(str, command))
    with output.open("wb") as said, subprocess.Popen(argv, stdout=said, stderr=said, **more) as one:  # type: ignore[call-overload]
        try:
            until = time.monotonic() + START_S
            while not _listens(port):
                words = last_line(output.read_text(errors="replace"))
                check(one.poll() is None and time.monotonic() < until, f"it does not start: {words}")
                time.sleep(0.1)
            yield
        finally:
            one.send_signal(signal.SIGTERM)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def source(count: int) -> EntrySource:
    """Random entries; each count gives another list."""
    return entries(random_hashes(count, count))


def witnessed(key: VerifierKey, serve: Serve) -> str:
    """A deployment whose log has this witness alone: published, verified, taken by a device, then forked."""
    with tempfile.TemporaryDirectory(prefix="counterparts-") as name, ExitStack() as stack:
        folder = Path(name)
        plain = free_port()
        roots = certificate_for(folder / "server.pem")
        port = stack.enter_context(tls_before(folder / "server.pem", plain))
        world = stack.enter_context(World.create(folder / "home", DESIGN))
        witness = ForeignWitness(key, f"https://127.0.0.1:{port}/", "them")
        log = make_log(world.deployment, 0, foreign=(witness,), roots=roots)
        origin = log.origin(EPOCHS, DESIGN)
        stack.enter_context(serve(log.key(origin), folder, plain))
        world.start((LOG,), threads=True)
        state = world.deployment.server(LOG) / "state"
        for epoch in (1, 2, 4):
            world.publish(source(epoch), system_randomness())
            if epoch == 2:
                shutil.copytree(state, folder / "old")
        (folder / "policy.txt").write_text(log.pinned(DESIGN).policy.text)
        proof = world.published / "3" / "epoch.proof"
        ran = in_process(folder / "home", "proof", "verify", proof, "--policy", folder / "policy.txt")
        check(ran.code == 0, f"its cosignature is not verified: {ran.err}")
        world.start(threads=True)
        check(world.device("alice").device.refresh() == 3, "a device does not take the epoch")
        said = asyncio.run(_refusals(world, log, origin, port, roots))
        world.stop()
        shutil.rmtree(state)
        (folder / "old").rename(state)
        world.start((LOG,), threads=True)
        try:
            world.publish(source(9), system_randomness())
        except OperatorError as error:
            check(NAME in str(error) and "newest state" in str(error), f"another reason: {error}")
        else:
            check(False, "a log that was put back goes on")
        return f"cosigns 3 epochs, which a device takes; {said}; a log that is put back stops"


async def _refusals(world: World, log: TransparencyLog, origin: str, port: int, roots: str) -> str:
    """What it answers to what it must not cosign, by status; and the evidence of a second history."""
    at = SubmissionPrefix.parse(f"https://127.0.0.1:{port}")
    trust = trust_of(roots)
    signer = NoteSigner.from_seed(origin, ED25519, log_seed(world.deployment))
    stranger = NoteSigner.from_seed("other.example", ED25519, bytes(32))
    logged = read_logged(world.published / "3")
    assert logged is not None
    honest = TlogProof.parse(logged.proof).note
    head = Checkpoint.from_note(honest)

    def note(made: Checkpoint, by: NoteSigner) -> Note:
        return Note(made.text, (by.sign(made.text),))

    other = Checkpoint(origin, 3, bytes(32))
    longer = Checkpoint(origin, 5, bytes(32))
    cases = {
        "a stale size": (0, note(head, signer), {409}),
        "a changed root": (3, Note(other.text, honest.signatures[:1]), {403}),
        "a second history": (3, note(other, signer), {409, 422}),
        "a longer one": (3, note(longer, signer), {422}),
        "an unknown log": (0, note(Checkpoint("other.example", 1, bytes(32)), stranger), {403, 404}),
    }
    words = []
    for name, (old, one, expected) in cases.items():
        status, body = await ask_over_https(at, trust, AddCheckpoint(old, (), one).encode())
        check(status in expected, f"answers {status} to {name}")
        check(name != "a stale size" or body == b"3\n", "409 without its size")
        words.append(f"{status} to {name}")
    split = SplitView(signer.key, (View(honest.encode()), View(note(other, signer).encode())))
    check(split.verify(log.key(origin)) == Passed(), "two histories are no evidence")
    check(split.list_cosigners(log.policy(origin).witnesses) == [], "it cosigned both")
    return "answers " + ", ".join(words)


def aics_witness() -> tuple[str, str]:
    env = virtual("counterparts-witness", "aics-witness", "3.13")
    program = env.folder / "bin" / "aics-witness"
    with tempfile.TemporaryDirectory(prefix="counterparts-") as name:
        config = Path(name) / "witness.json"
        text = run([program, "init", "--config", config, "--name", NAME]).strip()

        @contextmanager
        def serve(log: VerifierKey, folder: Path, port: int) -> Iterator[None]:
            run([program, "add-log", "--config", config, "--origin", log.name, "--vkey", log.text])
            command = [program, "serve", "--config", config, "--listen", f"127.0.0.1:{port}"]
            with process(command, port, folder / "output"):
                yield

        return env.version, witnessed(VerifierKey.parse(text), serve)


PANIC = "reflect.Value.Bytes of unaddressable byte array"
"""What Debian's build says of any checkpoint. It is built with another SQLite driver than upstream names
(go-llsqlite/crawshaw 0.5.5-2, not crawshaw.io/sqlite), which does not take an array of bytes."""


OF_OLD = "httpmuxgo121=0"
"""Its routes need the patterns of a newer Go than its module names."""


def litewitness() -> tuple[str, str]:
    env = debian("litetlog", "litewitness")
    if any(shutil.which(one) is None for one in ("ssh-agent", "ssh-keygen", "ssh-add")):
        raise NotRunError("takes its key from ssh-agent, which is not here")
    with tempfile.TemporaryDirectory(prefix="counterparts-") as name:
        folder = Path(name)
        agent = folder / "agent"
        database = folder / "witness.db"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"])
        blob = base64.b64decode((folder / "key.pub").read_text().split()[1])
        key = VerifierKey(NAME, COSIGNATURE, blob[-32:])
        printed = run(["ssh-keygen", "-l", "-f", folder / "key.pub"]).split()[1]

        @contextmanager
        def serve(log: VerifierKey, _folder: Path, port: int) -> Iterator[None]:
            of = ["-db", database, "-origin", log.name]
            run([env.folder / "witnessctl", "add-log", *of])
            run([env.folder / "witnessctl", "add-key", *of, "-key", log.text])
            command = [env.folder / "litewitness", "-db", database, "-key", printed, "-name", NAME]
            command += ["-listen", f"127.0.0.1:{port}", "-ssh-agent", agent]
            agents = [str(shutil.which("ssh-agent")), "-D", "-a", str(agent)]
            with subprocess.Popen(agents, stdout=subprocess.DEVNULL) as holds:
                try:
                    for _ in range(100 * START_S):
                        if agent.exists():
                            break
                        time.sleep(0.01)
                    run(["ssh-add", "-q", folder / "key"], env={**os.environ, "SSH_AUTH_SOCK": str(agent)})
                    with process(command, port, folder / "output", env={**os.environ, "GODEBUG": OF_OLD}):
                        yield
                finally:
                    holds.terminate()

        try:
            return env.version, witnessed(key, serve)
        except (OperatorError, DisagreementError):
            words = (folder / "output").read_text(errors="replace") if (folder / "output").exists() else ""
            if PANIC in words:
                raise NotRunError(
                    f"{env.version} panics when it stores a checkpoint, whoever sent it: Debian builds it "
                    "with go-llsqlite/crawshaw 0.5.5-2, not crawshaw.io/sqlite; that takes no byte array"
                ) from None
            raise
