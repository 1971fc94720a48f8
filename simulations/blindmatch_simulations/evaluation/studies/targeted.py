"""Option 0c, exceptional access to one account's messages: any k of n authorities together open them. What
each can do alone, what k can together, and what opens after a breach is tried out; nothing of it is in a
client, a server or `serve` (docs/designs/targeted-access.md).

    python -m blindmatch_simulations.evaluation.studies.targeted [JSON file]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_protocol.group.rows import expand
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.measure.yardstick import reading, timed

KEY_TAG: Final = b"blindmatch/study/targeted-access/message-key/v1"
SHARE_TAG: Final = b"blindmatch/study/targeted-access/share/v1"
_ONCE: Final = bytes(12)


class Kept(Redacted, Struct, frozen=True):
    """A message as the provider keeps it.

    Attributes:
        account, number, period: whose it is, which one, and when it was sent.
        sealed: a share for each authority.
    """

    SHOWN: ClassVar = ("account", "number", "period")

    account: int
    number: int
    period: int
    ciphertext: bytes
    sealed: tuple[bytes, ...]

    @property
    def info(self) -> bytes:
        return SHARE_TAG + b"".join(n.to_bytes(8, "big") for n in (self.account, self.number, self.period))

    @property
    def escrow_bytes(self) -> int:
        return sum(map(len, self.sealed))


class Authority(Redacted, Struct):
    """One of the n.

    Attributes:
        keys: X25519 private keys, one a period; None once it is destroyed.
        warrants: accounts that a court allowed it to open.
        opened: what it saw when: account and message of each share that it opened.
    """

    SHOWN: ClassVar = ("warrants", "opened")

    keys: list[bytes | None]
    warrants: set[int] = field(default_factory=set)
    opened: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def drawn(cls, periods: int, rng: Randomness) -> Authority:
        return cls([rng.take(hpke.KEY_BYTES) for _ in range(periods)])

    def public(self, period: int) -> bytes:
        """Its public key of a period that is not over."""
        key = self.keys[period]
        assert key is not None
        return hpke.public_key(key)

    def share_of(self, kept: Kept, place: int) -> bytes | None:
        """Its share of a message; None without a warrant for the account, or if it is no share of it."""
        if kept.account not in self.warrants:
            return None
        share = unsealed(self.keys[kept.period], kept, place)
        if share is not None:
            self.opened.append((kept.account, kept.number))
        return share


def unsealed(key: bytes | None, kept: Kept, place: int) -> bytes | None:
    """The share that lies at `place` of a message, by whoever has the key it is sealed to, if it is one."""
    share = None if key is None else hpke.open_sealed(key, kept.info, kept.sealed[place])
    return share if share is not None and len(share) == shares.VALUE_BYTES else None


def sent(
    account: int,
    number: int,
    period: int,
    publics: Sequence[bytes],
    needed: int,
    text: bytes,
    rng: Randomness,
) -> Kept:
    """A text under a fresh secret, in escrow with those whose public keys these are."""
    drawn = rng.take(needed * shares.SECRET_BYTES)
    coefficients = np.frombuffer(drawn, np.uint8).reshape(1, needed, shares.SECRET_BYTES)
    values = shares.values(coefficients, len(publics))[0]
    ciphertext = _cipher(shares.secrets_of(coefficients)[0].tobytes()).encrypt(_ONCE, text, None)
    empty = Kept(account, number, period, ciphertext, ())
    sealed = [
        hpke.seal(public, empty.info, value.tobytes(), rng.take(hpke.KEY_BYTES))
        for public, value in zip(publics, values, strict=True)
    ]
    return Kept(account, number, period, ciphertext, tuple(sealed))


def read(kept: Kept, found: Mapping[int, bytes], needed: int) -> bytes | None:
    """The text of a message, from shares by their place; None if fewer than `needed` of them are its own."""
    total = len(kept.sealed)
    held = np.zeros((total, 1, shares.VALUE_BYTES), np.uint8)
    for place, share in found.items():
        held[place, 0] = np.frombuffer(share, np.uint8)
    chosen = combinations(range(total), needed)
    for places, secret in zip(chosen, shares.candidates(held, needed), strict=True):
        if found.keys() >= set(places):
            with suppress(InvalidTag):
                return _cipher(secret.tobytes()).decrypt(_ONCE, kept.ciphertext, None)
    return None


def _cipher(secret: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(expand(KEY_TAG, 0, [secret], hpke.KEY_BYTES)[0].tobytes())


TEXT_BYTES: Final = 256
TARGET: Final = 0
"""The account that a warrant is for."""
REPEATS: Final = 100


class Scheme(Struct, frozen=True):
    """k of n authorities; accounts that each sent `messages` over `periods`."""

    n: int = 5
    k: int = 3
    accounts: int = 12
    messages: int = 8
    periods: int = 4
    seed: int = 1


class Opened(Strict, frozen=True):
    """What an attempt on escrowed messages opened: by whom, with how many authorities or their keys."""

    who: str
    holders: int
    messages: int
    of_messages: int
    accounts: int
    of_accounts: int


class World(Redacted, Struct, frozen=True):
    """The authorities, what the provider keeps, and the texts in it."""

    scheme: Scheme
    authorities: tuple[Authority, ...]
    kept: tuple[Kept, ...]
    texts: tuple[bytes, ...]

    def by_warrant(self, kept: Kept, place: int) -> bytes | None:
        """A share from an authority that keeps to the rule."""
        return self.authorities[place].share_of(kept, place)

    def by_theft(self, kept: Kept, place: int) -> bytes | None:
        """A share by an authority's key, whatever its rule."""
        return unsealed(self.authorities[place].keys[kept.period], kept, place)

    def grant(self, holders: int) -> None:
        """A warrant for the target, which the first `holders` honour."""
        for one in self.authorities[:holders]:
            one.warrants.add(TARGET)

    def tried(self, who: str, holders: int, share: Callable[[Kept, int], bytes | None]) -> Opened:
        """Try every message with what the first `holders` give."""
        opened = []
        for kept, text in zip(self.kept, self.texts, strict=True):
            found = {at: one for at in range(holders) if (one := share(kept, at)) is not None}
            if read(kept, found, self.scheme.k) == text:
                opened.append(kept.account)
        accounts = len({one.account for one in self.kept})
        return Opened(who, holders, len(opened), len(self.kept), len(set(opened)), accounts)


def world(scheme: Scheme, periods: int = 1) -> World:
    """A world in which authorities had a key in each of `periods` and have destroyed all but the last."""
    rng = seeded(f"targeted/{scheme.seed}/{periods}")
    authorities = tuple(Authority.drawn(periods, rng) for _ in range(scheme.n))
    texts = tuple(rng.take(TEXT_BYTES) for _ in range(scheme.accounts * scheme.messages))
    kept = []
    for at, text in enumerate(texts):
        account, number = divmod(at, scheme.messages)
        period = number * periods // scheme.messages
        publics = [one.public(period) for one in authorities]
        kept.append(sent(account, number, period, publics, scheme.k, text, rng))
    for one in authorities:
        one.keys[:-1] = [None] * (periods - 1)
    return World(scheme, authorities, tuple(kept), texts)


def attempts(scheme: Scheme) -> Iterator[Opened]:
    """Every attempt of the table, each in a world of its own."""
    for holders in range(1, scheme.n + 1):
        held = world(scheme)
        held.grant(holders)
        yield held.tried("authorities, by a warrant for one account", holders, held.by_warrant)
    yield _relabelled(scheme)
    for periods, keys in ((1, "keys that are kept for good"), (scheme.periods, "keys of one period")):
        held = world(scheme, periods)
        for holders in range(scheme.n + 1):
            yield held.tried(f"a thief of {keys}", holders, held.by_theft)
    yield _evaded(scheme)


def _relabelled(scheme: Scheme) -> Opened:
    """The provider hands out other accounts' messages as the target's."""
    held = world(scheme)
    held.grant(scheme.n)
    own = scheme.messages
    others = replace(held, kept=held.kept[own:], texts=held.texts[own:])
    return others.tried(
        "provider, others' messages as the target's",
        scheme.n,
        lambda kept, place: held.by_warrant(replace(kept, account=TARGET), place),
    )


def _evaded(scheme: Scheme) -> Opened:
    """Modified clients put the secret of something else into escrow; only who opens it can tell."""
    held = world(scheme)
    other = world(replace(scheme, seed=scheme.seed + 1))
    pairs = zip(held.kept, other.kept, strict=True)
    kept = tuple(replace(one, ciphertext=two.ciphertext) for one, two in pairs)
    altered = replace(held, kept=kept, texts=other.texts)
    return altered.tried("all authorities, modified clients", scheme.n, altered.by_theft)


def costs(scheme: Scheme) -> dict[str, float]:
    """What escrow costs a message: the sender's and an authority's CPU in u, and bytes."""
    held = world(replace(scheme, accounts=1, messages=1))
    (kept,) = held.kept
    rng = seeded("targeted/cost")
    publics = [one.public(0) for one in held.authorities]

    def in_u(task: Callable[[], object]) -> float:
        u_us = reading().u_us
        spent = timed(lambda: [task() for _ in range(REPEATS)]).cpu_s
        return round(spent * 1e6 / REPEATS / u_us, 2)

    return {
        "sender_u": in_u(lambda: sent(0, 0, 0, publics, scheme.k, held.texts[0], rng)),
        "authority_u": in_u(lambda: held.by_theft(kept, 0)),
        "escrow_bytes": float(kept.escrow_bytes),
    }


def measured(scheme: Scheme) -> dict[str, Any]:
    rows = [msgspec.to_builtins(one) for one in attempts(scheme)]
    return {
        "option": "0c",
        "measured": "in process",
        "scheme": asdict(scheme),
        "opened": rows,
        "cost": costs(scheme),
    }


def main() -> None:
    """Print the table, and write it if a file is named."""
    found = measured(Scheme())
    for row in found["opened"]:
        of = f"{row['messages']:3} of {row['of_messages']} messages, "
        of += f"{row['accounts']:2} of {row['of_accounts']} accounts"
        print(f"{row['who']:45} {row['holders']} of {found['scheme']['n']}: {of}")
    print(", ".join(f"{name} {value:g}" for name, value in found["cost"].items()))
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
