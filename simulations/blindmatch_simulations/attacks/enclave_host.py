"""The host of an enclave runs something else than was measured, or has the platform sign what is not so.

attested-host        seven ways without the platform's key: another configuration, code, list or epoch, a
                     platform of its own, a key of its own in a quote, the quote for another nonce
broken-attestation   the vendor's key leaked: the host signs a quote of the policy's measurement over a key of
                     its own, and reads what devices seal to it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, TypeAlias

from blindmatch_protocol import hpke
from blindmatch_protocol.contract import UNBOUND, Item, NoState, Party, Send
from blindmatch_protocol.designs.enclave.attestation import Platform, Policy, signed_quote
from blindmatch_protocol.designs.enclave.design import ENCLAVE, VENDOR, Inside, picture_info
from blindmatch_protocol.designs.enclave.messages import Attest, Picture, Quote, SealedPicture
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.padding import unpad_attachment
from msgspec.structs import replace

from blindmatch_simulations.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, attack
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.pictures.pool import picture

ENTRIES: Final = 8
PICTURES: Final = 4
PAGE: Final = "docs/designs/enclave.md"
Quoting: TypeAlias = Callable[[bytes], Quote]
"""What a host answers to a nonce."""


@attack(
    "attested-host",
    Means(frozenset({Party.PROVIDER}), has="the enclave's files but the platform's key"),
    Claim(
        "a host that runs other measured code or another configuration is refused before a picture leaves",
        PAGE,
    ),
    budget=f"seven ways, {PICTURES} pictures each",
    weakness=replacing((Policy, "check", lambda *_: None)),
    against={"enclave"},
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
    """The platform is honest: it measures what runs there."""
    other = arena.deployed(arena.hashes(ENTRIES, "other list"), "other set").states[ENCLAVE]
    rng = arena.rng("keys")
    own, key, nonce = Platform(rng.take(32), rng.take(32)), hpke.public_key(rng.take(32)), rng.take(32)
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


@attack(
    "broken-attestation",
    Means(frozenset({Party.PROVIDER, VENDOR}), has="the platform's signing key"),
    Claim("Whoever has the platform's signing key reads every picture", PAGE),
    budget=f"{PICTURES} pictures",
    against={"enclave"},
)
def broken_attestation(arena: Arena) -> Figure:
    """Count the pictures that the host reads with the platform's signing key."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "list"), "set")
    built, private = deployed.states[ENCLAVE], arena.rng("key").take(32)
    empty = Quote(built.measurement, built.epoch, hpke.public_key(private), bytes(32), bytes(64))
    read = 0
    for number in arena.each(range(PICTURES)):
        item = picture(number)
        sent = _sent(
            arena,
            deployed,
            item,
            lambda nonce: signed_quote(built.platform.signing, replace(empty, nonce=nonce)),
        )
        info = picture_info(built.measurement, built.epoch)
        padded = None if sent is None else hpke.open_sealed(private, info, sent.sealed)
        read += padded is not None and _shows(Picture.decode(unpad_attachment(padded)), item)
    return counted("pictures read", {"with the platform's key": (read, PICTURES)})


def _shows(read: Picture, item: Item) -> bool:
    return (read.height, read.width, read.pixels) == (*item.pixels.shape[:2], item.pixels.tobytes())


def _sent(arena: Arena, deployed: Deployed, item: Item, quoting: Quoting) -> SealedPicture | None:
    """What a device sends after a quote; None if it refuses it."""
    design, setup, rng = arena.design, deployed.setup, arena.rng("device")
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
