"""A relay and devices as processes of their own that a test kills with SIGKILL, and what they leave behind.

`Arm` says at which failpoint, and at which time it is reached, a process ends itself.

    device   journal   "try NAME" before a message is sent, "done NAME" once the device has taken it
    relay    tap       every sealed message and every bundle that went through it, over all its lives
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from blindmatch_client.device import Device, DeviceConfig, Unreadable
from blindmatch_client.egress import Credentials, Egress, Endpoint, Recorder, Retry
from blindmatch_client.errors import ServiceError
from blindmatch_client.store.store_file import FILE_NAME
from blindmatch_client.store.vault import Passphrase
from blindmatch_protocol import failpoint
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Credentials as ServerCredentials
from blindmatch_server.hosting.serving import Listen, serve
from blindmatch_server.relay.service import Relay, RelayConfig, open_services
from dummy_designs import ECHO
from msgspec import Struct
from msgspec.structs import replace

from support.fakes import CENTRE, picture
from support.forked import context
from support.signed import CURATOR

ANY = "*"
START_SECONDS = 180.0


class Arm(Struct, frozen=True):
    """Die at failpoint `point` (or any, `ANY`) when it is reached for the `hit`-th time."""

    point: str
    hit: int = 1


def armed(arm: Arm | None, noted: Path | None) -> None:
    """Arm this process; append the names of points that are reached to `noted`."""
    seen = [0]

    def reached(name: str) -> None:
        if noted is not None:
            with noted.open("a") as file:
                file.write(f"{name}\n")
        if arm is not None and arm.point in (ANY, name):
            seen[0] += 1
            if seen[0] == arm.hit:
                os.kill(os.getpid(), signal.SIGKILL)

    failpoint.arm(reached)


def limit_files(most_bytes: int) -> None:
    """A disk that is full: no file may grow past so many bytes; 0 is no limit."""
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


# the relay


class RelayPlan(Struct, frozen=True):
    """A relay's life."""

    folder: Path
    credentials: ServerCredentials
    port: int
    arm: Arm | None = None
    noted: Path | None = None
    most_file_bytes: int = 0

    @property
    def port_file(self) -> Path:
        return self.folder / "port"

    @property
    def tap(self) -> Path:
        return self.folder.with_name(self.folder.name + ".tap")


def relay_life(plan: RelayPlan) -> None:
    armed(plan.arm, plan.noted)
    limit_files(plan.most_file_bytes)
    _tap_relay(plan.tap)
    listen = Listen(plan.credentials, port=plan.port, port_file=plan.port_file, sink=lambda line: None)
    raise SystemExit(serve("relay", listen, partial(open_services, RelayConfig(plan.folder / "state"))))


def _tap_relay(tap: Path) -> None:
    """Keep what the relay sees, where no kill takes it back."""
    descriptor = os.open(tap, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    send = Relay.send
    fetch = Relay.fetch_bundle

    def keep(*fields: bytes) -> None:
        body = b"".join(struct.pack(">I", len(part)) + part for part in fields)
        os.write(descriptor, struct.pack(">I", len(body)) + body)

    async def tapped_send(relay: Relay, request: Any, call: Any) -> Any:
        keep(b"sent", call.account.encode(), request.recipient.encode(), request.sealed)
        return await send(relay, request, call)

    async def tapped_fetch(relay: Relay, request: Any, call: Any) -> Any:
        bundle: wire.Bundle = await fetch(relay, request, call)
        keep(b"bundle", request.account.encode(), *bundle.one_time_pre_keys)
        return bundle

    Relay.send = tapped_send
    Relay.fetch_bundle = tapped_fetch  # type: ignore[method-assign]


def tapped(tap: Path) -> Iterator[tuple[bytes, ...]]:
    """What `_tap_relay` kept."""
    data = tap.read_bytes()
    for body in _framed(data):
        yield tuple(_framed(body))


def _framed(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


# a device

Order = tuple[Any, ...]
"""("text", to, name), ("picture", to, name, seed), ("file", to, name, path), ("receive",), ("flush",),
("inbox",), ("outcomes",), ("save", path), ("memory",), ("limit", bytes). A text's `to` is a name or a
tuple of them."""


class DevicePlan(Struct, frozen=True):
    """A device's life: it is made unless it is there, registers, and does what it is ordered."""

    folder: Path
    name: str
    credentials: Credentials
    ports: dict[Party, int]
    orders: Sequence[Order] = ()
    arm: Arm | None = None
    noted: Path | None = None

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.name}.journal"

    @property
    def inbox(self) -> Path:
        return self.folder / f"{self.name}.inbox"

    @property
    def outcomes(self) -> Path:
        return self.folder / f"{self.name}.outcomes"

    @property
    def home(self) -> Path:
        return self.folder / self.name


def device_life(plan: DevicePlan) -> None:
    armed(plan.arm, plan.noted)
    device = opened(plan)
    tried = names_in(plan.journal, "try")
    _quietly(device.register)
    _quietly(device.flush)
    for order in plan.orders:
        if order[0] not in ("text", "picture") or order[2] not in tried:
            _obey(device, plan, order)
    device.close()


def opened(plan: DevicePlan) -> Device:
    """The device of `plan`, made unless it is there."""
    endpoints = {party: Endpoint(f"127.0.0.1:{port}") for party, port in plan.ports.items()}
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000  # noqa: E731
    retry = Retry(attempts=2, first_wait_s=0.05)
    egress = Egress(endpoints, plan.credentials, Recorder(50, keep_requests=False), clock, retry=retry)
    make = Device.open if (plan.home / FILE_NAME).exists() else Device.create
    key = Passphrase("for tests", 1, 1 << 20)
    config = DeviceConfig(plan.name, ECHO, CURATOR.public, unreadable=Unreadable.SEND, key=key, centre=CENTRE)
    return make(plan.home, config, egress, system_randomness(), clock)


def _obey(device: Device, plan: DevicePlan, order: Order) -> None:
    match order:
        case ("text", to, name):
            send = device.send_text_to if isinstance(to, tuple) else device.send_text
            _send(plan.journal, name, lambda: send(to, clear(name)))
        case ("picture", to, name, seed):
            _send(plan.journal, name, lambda: device.send_picture(to, picture(seed, 64), clear(name)))
        case ("file", to, name, path):
            _send(plan.journal, name, lambda: device.send_file(to, Path(path), clear(name)))
        case ("save", path):
            device.inbox()[-1].attachments[0].save(Path(path))
        case ("memory",):
            _note(plan.journal, f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
        case ("limit", most_bytes):
            limit_files(most_bytes)
        case ("receive",):
            _quietly(device.receive)
        case ("flush",):
            _quietly(device.flush)
        case ("inbox" | "outcomes",):
            _write(device, plan, order[0])
        case _:
            raise ValueError(order)


def _send(journal: Path, name: str, send: Callable[[], object]) -> None:
    """A message counts as taken unless the device says that it is refused for good."""
    _note(journal, f"try {name}")
    try:
        send()
    except BlindmatchError as error:
        _note(journal, f"refused {name} {error}")
        return
    _note(journal, f"done {name}")


def clear(name: str) -> str:
    """The text of the message called `name`, which must be found nowhere in the clear."""
    return f"in the clear: {name}."


def _quietly(run: Callable[[], object]) -> None:
    """What fails because the relay is away is tried again in another life."""
    try:
        run()
    except ServiceError:
        return


def _write(device: Device, plan: DevicePlan, what: str) -> None:
    if what == "inbox":
        rows = [[m.sender, m.text, len(m.pictures), m.problem] for m in device.inbox()]
        plan.inbox.write_text(json.dumps(rows))
        return
    kept = [[one.outcome, one.delivered, one.reported] for one in device.outcomes()]
    plan.outcomes.write_text(json.dumps(kept))


def _note(journal: Path, line: str) -> None:
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def names_in(journal: Path, word: str) -> set[str]:
    if not journal.exists():
        return set()
    lines = (line.split(" ", 1) for line in journal.read_text().splitlines())
    return {name for verb, name in lines if verb == word}


# processes


@dataclass
class Processes:
    """Starts lives and waits for their ends."""

    running: list[ForkServerProcess] = field(default_factory=list)
    context: ForkServerContext = field(default_factory=context)

    def start(self, life: Callable[[Any], None], plan: Any) -> ForkServerProcess:
        process = self.context.Process(target=life, args=(plan,), daemon=True)
        process.start()
        self.running.append(process)
        return process

    def relay(self, plan: RelayPlan) -> tuple[ForkServerProcess, RelayPlan]:
        """A relay that takes calls, and its plan with the port it has."""
        plan.port_file.unlink(missing_ok=True)
        process = self.start(relay_life, plan)
        deadline = time.monotonic() + START_SECONDS
        while not plan.port_file.exists():
            assert process.is_alive(), f"the relay ended with {process.exitcode}"
            assert time.monotonic() < deadline, "the relay did not start"
            time.sleep(0.01)
        return process, replace(plan, port=int(plan.port_file.read_text()))

    def device(self, plan: DevicePlan, seconds: float = 600.0) -> int:
        """Live a device's life to its end; how it ended."""
        process = self.start(device_life, plan)
        process.join(seconds)
        assert process.exitcode is not None, "a device did not come to its end"
        return process.exitcode

    def close(self) -> None:
        for process in self.running:
            if process.is_alive():
                process.kill()
            process.join(10)


# what must hold


def check_taps(tap: Path) -> int:
    """No two plaintexts under one message key, no salt twice, no one-time pre-key to two; messages seen."""
    from blindmatch_client.messenger.suite import SALT_LENGTH
    from blindmatch_protocol.messages.sealed_message import SealedMessage

    by_key: dict[tuple[bytes, bytes, int], set[bytes]] = {}
    started: dict[bytes, set[bytes]] = {}
    handed: Counter[bytes] = Counter()
    sealed_ones: set[bytes] = set()
    for kind, *fields in tapped(tap):
        if kind == b"bundle":
            handed.update(fields[1:])
            continue
        sealed = fields[2]
        sealed_ones.add(sealed)
        message = SealedMessage.decode(sealed)
        header = message.header
        by_key.setdefault((message.session, header.ratchet_key, header.number), set()).add(sealed)
        for initial in message.initial:
            for one_time in initial.one_time:
                started.setdefault(one_time, set()).add(message.session)
    salts = Counter(SealedMessage.decode(sealed).ciphertext[:SALT_LENGTH] for sealed in sealed_ones)
    assert [key for key, seen in by_key.items() if len(seen) > 1] == [], "a message key sealed two messages"
    assert [salt for salt, times in salts.items() if times > 1] == [], "a salt was used twice"
    assert [key for key, times in handed.items() if times > 1] == [], "a pre-key was handed out twice"
    assert [key for key, seen in started.items() if len(seen) > 1] == [], "a pre-key started two sessions"
    return len(sealed_ones)


def check_clear(folder: Path) -> None:
    """Nothing in the clear on a disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert b"in the clear" not in held, f"plaintext in {path.name}"
            assert b"\x89PNG" not in held, f"a picture in {path.name}"


def check_delivered(journals: Sequence[Path], inboxes: Sequence[Path]) -> tuple[int, int]:
    """Each message that a device took arrived once, no other one twice, none with a problem; how many were
    taken, and how many arrived."""
    assert [name for journal in journals for name in names_in(journal, "refused")] == []
    done = {name for journal in journals for name in names_in(journal, "done")}
    tried = {name for journal in journals for name in names_in(journal, "try")}
    rows = [row for inbox in inboxes for row in json.loads(inbox.read_text())]
    assert [problem for *_, problem in rows if problem] == []
    arrived = Counter(text for _, text, *_ in rows)
    assert {text: times for text, times in arrived.items() if times > 1} == {}, "a message arrived twice"
    assert {clear(name) for name in done} - arrived.keys() == set(), "a message was lost"
    assert arrived.keys() <= {clear(name) for name in tried}
    return len(done), len(rows)
