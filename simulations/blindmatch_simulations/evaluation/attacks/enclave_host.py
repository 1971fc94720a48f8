"""The host of an enclave runs something else than was measured, or has the platform sign what is not so."""

from __future__ import annotations

import py_compile
import shutil
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import blindmatch_protocol
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import UNBOUND, Item, NoState, Party, Send
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.enclave import design as host
from blindmatch_protocol.designs.enclave.attestation import (
    Attest,
    Picture,
    Platform,
    Policy,
    Quote,
    SealedPicture,
    measured,
    signed_quote,
)
from blindmatch_protocol.designs.enclave.design import ENCLAVE, VENDOR, Inside, picture_info
from blindmatch_protocol.messages.content import unpad_attachment
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.testbed.inprocess.deployed import Deployed
from blindmatch_simulations.testbed.pictures.pool import picture

ENTRIES: Final = 8
PICTURES: Final = 4
PAGE: Final = "docs/designs/enclave.md"
Quoting: TypeAlias = Callable[[bytes], Quote]
"""What a host answers to a nonce."""


@attack(
    "attested-host",
    Means(frozenset({Party.PROVIDER}), has="the enclave's files but the platform's key"),
    Claim("a quote of other code or of another configuration is refused before a picture leaves", PAGE),
    budget=f"seven ways, {PICTURES} pictures each",
    weakness=replacing((Policy, "check", lambda *_: None)),
    needs=(needs.ATTESTED,),
    exposes="pictures that devices seal",
    left=Left.REFUSED,
)
def attested_host(arena: Arena) -> Figure:
    """Count the pictures that devices seal to a host which is not what the policy says, by what it does."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "list"), "set")
    cases = {}
    for name, quoting in arena.each(_ways(arena, deployed.states[ENCLAVE]).items()):
        sent = [_sent(arena, deployed, picture(number), quoting) for number in range(PICTURES)]
        cases[name] = (sum(one is not None for one in sent), PICTURES)
    return counted("pictures sent", cases)


def _ways(arena: Arena, built: Inside) -> Mapping[str, Quoting]:
    """The platform is honest: it is supposed to measure what runs there."""
    other = arena.deployed(arena.hashes(ENTRIES, "other list"), "other set").states[ENCLAVE]
    rng = arena.rng("keys")
    own = Platform(rng.take(32), rng.take(32))
    key = hpke.public_key(rng.take(32))
    nonce = rng.take(32)
    patched = sha256(b"patched").digest()
    return {
        "another configuration": _runs(replace(built, distance=256)),
        "other code": lambda asked: built.platform.quote(patched, built.epoch, asked),
        "another list": _runs(replace(built, held=other.held, list_digest=other.list_digest)),
        "an earlier epoch": _runs(replace(built, epoch=built.epoch - 1)),
        "a platform of its own": lambda asked: own.quote(built.measurement, built.epoch, asked),
        "a key of its own": lambda asked: replace(_runs(built)(asked), key=key),
        "a quote made before": lambda _: _runs(built)(nonce),
    }


def _runs(inside: Inside) -> Quoting:
    return lambda nonce: inside.platform.quote(inside.measurement, inside.epoch, nonce)


_ALTERED: Final = """
_plain, KEPT = Inside.look_up, []
Inside.look_up = lambda self, asked: KEPT.append(asked) or _plain(self, asked)
"""
_MEASURES: Final = (
    "from blindmatch_protocol.designs.enclave import attestation, design; "
    "print(attestation.CODE.hex() if hasattr(design, 'KEPT') else '')"
)


@attack(
    "unmeasured-code",
    Means(frozenset({Party.PROVIDER}), has="the host's files"),
    Claim("a host that runs other code can show the same quote", PAGE),
    budget=f"one altered file, {PICTURES} pictures",
    needs=(needs.ATTESTED,),
    exposes="every picture, in this imitation of an enclave",
)
def unmeasured_code(arena: Arena) -> Figure:
    """Count the pictures that devices seal to an enclave whose code keeps what it opens."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "list"), "set")
    built: Inside = deployed.states[ENCLAVE]
    code = _code_of_altered()

    def quoting(nonce: bytes) -> Quote:
        measurement = measured(code, built.epoch, built.list_digest + built.blind, built.distance)
        return built.platform.quote(measurement, built.epoch, nonce)

    numbers = arena.each(range(PICTURES))
    sent = sum(_sent(arena, deployed, picture(number), quoting) is not None for number in numbers)
    return counted("pictures sent", {"to altered code": (sent, PICTURES)})


def _code_of_altered() -> bytes:
    with TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        package = Path(blindmatch_protocol.__file__).parent
        copy = Path(folder) / package.name
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        source = copy / Path(host.__file__).relative_to(package)
        altered = Path(folder) / "altered.py"
        altered.write_text(source.read_text("utf-8") + _ALTERED, "utf-8")
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(
            str(altered), cache_from_source(source), str(source), doraise=True, invalidation_mode=unchecked
        )
        command = (sys.executable, "-c", _MEASURES)
        ran = run(command, env={"PYTHONPATH": folder}, capture_output=True, check=True, text=True)
    if not ran.stdout.strip():
        raise AttackError("the altered code was not run")
    return bytes.fromhex(ran.stdout.strip())


@attack(
    "broken-attestation",
    Means(frozenset({Party.PROVIDER, VENDOR}), has="the platform's signing key", stolen=True),
    Claim("Whoever has the platform's signing key reads every picture", PAGE),
    budget=f"{PICTURES} pictures",
    needs=(needs.ATTESTED,),
    exposes="every picture",
)
def broken_attestation(arena: Arena) -> Figure:
    """Count the pictures that the host reads with the platform's signing key."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "list"), "set")
    built = deployed.states[ENCLAVE]
    private = arena.rng("key").take(32)
    key = built.platform.signing
    empty = Quote(built.measurement, built.epoch, hpke.public_key(private), bytes(32), bytes(64))
    read = 0
    for number in arena.each(range(PICTURES)):
        item = picture(number)
        sent = _sent(arena, deployed, item, lambda nonce: signed_quote(key, replace(empty, nonce=nonce)))
        info = picture_info(built.measurement, built.epoch)
        padded = None if sent is None else hpke.open_sealed(private, info, sent.sealed)
        if padded is not None:
            shown = Picture.decode(unpad_attachment(padded))
            sizes = shown.height, shown.width
            read += sizes == item.pixels.shape[:2] and shown.pixels == item.pixels.tobytes()
    return counted("pictures read", {"with the platform's key": (read, PICTURES)})


def _sent(arena: Arena, deployed: Deployed, item: Item, quoting: Quoting) -> SealedPicture | None:
    design = arena.design
    setup = deployed.setup
    rng = arena.rng("device")
    asked = design.start(NoState(), setup, item, UNBOUND, rng).step
    assert isinstance(asked, Send)
    nonce = asked.bodies[ENCLAVE]
    assert isinstance(nonce, Attest)
    try:
        step = design.receive(asked.session, setup, {ENCLAVE: quoting(nonce.nonce)}, rng)
    except ProtocolError:
        return None
    assert isinstance(step, Send)
    body = step.bodies[ENCLAVE]
    assert isinstance(body, SealedPicture)
    return body
