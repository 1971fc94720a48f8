"""Writes threshold-near-v3.json, and compares designs/threshold-psi.json: devices and centre by hand.

    python tests/vectors/make_threshold_vectors.py [FILE]

Does what docs/designs/threshold-near.md, threshold-psi.md and the pages that they name say, one row after the
other, and shares no code with the product: hashlib, OpenSSL's AES, and libsodium's group as rbcl calls it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import sys
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import rbcl as sodium
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE: Final = Path(__file__).parent
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
FIELD: Final = 2**61 - 1
BANDS = 6
BITS = 40
WEIGHTS: Final = (445, 85, 23, 22, 44, 381)


def drawn(what: str, length: int) -> bytes:
    """Bytes of the vectors' own, the same in every run."""
    return hashlib.shake_256(b"threshold vectors/" + what.encode()).digest(length)


def scalar(what: str) -> bytes:
    return (int.from_bytes(drawn(what, 64), "little") % ORDER).to_bytes(32, "little")


def sha512(tag: str, *parts: bytes) -> bytes:
    return hashlib.sha512(tag.encode().ljust(128, b"\0") + b"".join(parts)).digest()


def prf(tag: str, length: int, *parts: bytes) -> bytes:
    return hashlib.shake_256(tag.encode().ljust(136, b"\0") + b"".join(parts)).digest(length)


def little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def times(number: bytes, element: bytes) -> bytes:
    return bytes(sodium.crypto_scalarmult_ristretto255(number, element))


def base(number: bytes) -> bytes:
    return bytes(sodium.crypto_scalarmult_ristretto255_base(number))


def plus(left: bytes, right: bytes) -> bytes:
    return bytes(sodium.crypto_core_ristretto255_add(left, right))


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


# --- the committing AEAD (docs/reference/wire.md)


def _keys(key: bytes) -> tuple[bytes, bytes, bytes]:
    extracted = hmac.digest(bytes(64), key, "sha512")  # HKDF, RFC 5869
    info = b"blindmatch/committing-aead/keys/v1"
    one = hmac.digest(extracted, info + b"\1", "sha512")
    made = (one + hmac.digest(extracted, one + info + b"\2", "sha512"))[:80]
    return made[:32], made[32:48], made[48:]


def _tag(key: bytes, ciphertext: bytes, data: bytes) -> bytes:
    return hmac.digest(key, len(data).to_bytes(8, "big") + data + ciphertext, "sha512_256")


def seal(key: bytes, plain: bytes, data: bytes) -> bytes:
    cipher, counter, mac = _keys(key)
    made = Cipher(algorithms.AES(cipher), modes.CTR(counter)).encryptor().update(plain)
    return made + _tag(mac, made, data)


def unseal(key: bytes, sealed: bytes, data: bytes) -> bytes | None:
    cipher, counter, mac = _keys(key)
    if _tag(mac, sealed[:-32], data) != sealed[-32:]:
        return None
    return Cipher(algorithms.AES(cipher), modes.CTR(counter)).decryptor().update(sealed[:-32])


# --- the table


def table_sizes(keys: int) -> tuple[int, int, int]:
    """Cells of a segment, segments that a key may begin in, cells."""
    most = max(keys, 3)
    length = min(1 << 18, 1 << max(2, int(math.log(most) / math.log(3.33) + 2.25)))
    factor = max(1.125, 0.875 + 0.25 * math.log(10**6) / math.log(most))
    starts = max(1, -(-int(most * factor) // length) - 2)
    return length, starts, (starts + 2) * length


def front(epoch: int, seed: bytes) -> bytes:
    return epoch.to_bytes(8, "big") + seed


def element_of(domain: bytes, key: bytes) -> bytes:
    wide = sha512("blindmatch/threshold-psi/hash/v1", domain, key)
    return bytes(sodium.crypto_core_ristretto255_from_hash(wide))


def places_of(domain: bytes, keys: int, key: bytes) -> list[int]:
    length, starts, _ = table_sizes(keys)
    wide = sha512("blindmatch/threshold-psi/place/v1", domain, key)
    words = [little(wide[at : at + 8]) for at in range(0, 32, 8)]
    return [(words[0] % starts + at) * length + words[1 + at] % length for at in range(3)]


def value_of(cells: list[bytes], places: list[int]) -> bytes:
    return plus(plus(cells[places[0]], cells[places[1]]), cells[places[2]])


def build(a: bytes, domain: bytes, keys: list[bytes]) -> list[bytes] | None:
    """Cells; None if under this seed some keys have no cell to themselves."""
    places = {key: places_of(domain, len(keys), key) for key in keys}
    order = []
    rest = set(keys)
    while rest:
        crowd: dict[int, list[bytes]] = {}
        for key in sorted(rest):
            for at in places[key]:
                crowd.setdefault(at, []).append(key)
        alone = [(at, who[0]) for at, who in sorted(crowd.items()) if len(who) == 1]
        if not alone:
            return None
        order.append(alone[0])
        rest.remove(alone[0][1])
    cells = [bytes(sodium.crypto_core_ristretto255_from_hash(drawn(f"cell {at}", 64)))
             for at in range(table_sizes(len(keys))[2])]  # fmt: skip
    for own, key in reversed(order):
        one, other = (cells[at] for at in places[key] if at != own)
        wanted = times(a, element_of(domain, key))
        cells[own] = bytes(sodium.crypto_core_ristretto255_sub(wanted, plus(one, other)))
    return cells


# --- tokens


def bits_of(own: bytes) -> list[int]:
    return [byte >> (7 - at) & 1 for byte in own for at in range(8)]


def flipped(own: bytes, *places: int) -> bytes:
    bits = bits_of(own)
    for at in places:
        bits[at] ^= 1
    return bytes(sum(bits[8 * at + bit] << (7 - bit) for bit in range(8)) for at in range(32))


def band(number: int) -> tuple[int, ...]:
    columns = [at // 2 + 8 * (at % 2) for at in range(16)]
    places = [255 - (16 * row + column) for column in columns for row in range(16)]
    return tuple(places[number * BITS : number * BITS + BITS])


def token_of(own: bytes, number: int) -> int:
    bits = bits_of(own)
    found = 0
    for at in band(number):
        found = found << 1 | bits[at]
    return found


def key_of_token(number: int, token: int) -> bytes:
    return bytes([number]) + token.to_bytes(8, "big")


def probes_of(own: bytes, coefficients: list[float], number: int, probes: int) -> list[int]:
    """The band's token under the cheapest sets of flips, by the sum of their distances from the median."""
    best = [(0.0, 0)]
    for place, at in enumerate(band(number)):
        cost = abs(coefficients[at])
        bit = 1 << (BITS - 1 - place)
        best = sorted([*best, *((paid + cost, flips | bit) for paid, flips in best)])[:probes]
    return [token_of(own, number) ^ flips for _, flips in best]


def listed_keys(hashes: list[bytes]) -> list[bytes]:
    """Six an entry: of a family each band's commonest token, then what fills up."""
    family = list(range(len(hashes)))
    for one, other in combinations(range(len(hashes)), 2):
        apart = sum(a != b for a, b in zip(bits_of(hashes[one]), bits_of(hashes[other]), strict=True))
        alike = any(token_of(hashes[one], at) == token_of(hashes[other], at) for at in range(BANDS))
        if apart <= 31 and alike:
            family = [family[one] if held == family[other] else held for held in family]
    found = {at: set[int]() for at in range(BANDS)}
    for of in set(family):
        own = [one for one, held in zip(hashes, family, strict=True) if held == of]
        for at in range(BANDS):
            tokens = [token_of(one, at) for one in own]
            found[at].add(min(tokens, key=lambda token: (-tokens.count(token), token)))
    without = [one for one in hashes if not any(token_of(one, at) in found[at] for at in range(BANDS))]
    found[0] |= {token_of(one, 0) for one in without}
    made = [key_of_token(at, token) for at, some in found.items() for token in sorted(some)]
    return made + [key_of_token(255, at) for at in range(BANDS * len(hashes) - len(made))]


# --- shares


class Shares:
    """What a device derives in a period."""

    def __init__(self, key: bytes, period: bytes, threshold: int) -> None:
        self.own = key + period
        raw = prf("blindmatch/threshold/polynomials/v1", 256 * threshold, self.own)
        numbers = [little(raw[at : at + 8]) & FIELD for at in range(0, len(raw), 8)]
        self.powers = [numbers[at : at + 32] for at in range(0, len(numbers), 32)]
        self.name = prf("blindmatch/threshold/device/v1", 16, self.own)
        self.account_key = account_key(self.powers[0])

    def coin(self, own: bytes) -> int:
        return little(prf("blindmatch/threshold/coin/v1", 16, self.own, own)) % 1000

    def hits(self, own: bytes) -> int:
        pattern = little(prf("blindmatch/threshold/pattern/v1", 2, self.own, own))
        steps = [(sum(WEIGHTS[: at + 1]) << 16) // sum(WEIGHTS) for at in range(6)]
        return 1 + sum(pattern >= step for step in steps[:5])

    def share(self, own: bytes, is_synthetic: bool) -> bytes:
        place = 1 + little(prf("blindmatch/threshold/share-place/v1", 16, self.own, own)) % (FIELD - 1)
        if is_synthetic:
            raw = prf("blindmatch/threshold/noise/v1", 512, self.own, own)
            values = [little(raw[at : at + 16]) % FIELD for at in range(0, 512, 16)]
        else:
            values = [
                sum(row[at] * pow(place, power, FIELD) for power, row in enumerate(self.powers)) % FIELD
                for at in range(32)
            ]
        return b"".join(number.to_bytes(8, "little") for number in (place, *values))


def account_key(values: list[int]) -> bytes:
    raw = b"".join(one.to_bytes(8, "little") for one in values)
    return sha512("blindmatch/threshold/account-key/v1", raw)[:32]


def period_of(public: bytes, threshold: int, synthetic: int, expires: int) -> bytes:
    stated = b"".join(number.to_bytes(8, "big") for number in (threshold, synthetic, expires))
    return hashlib.sha256(b"blindmatch/threshold-psi/period/v3" + public + stated).digest()


def content(own: bytes, evidence: bytes) -> bytes:
    return own + len(evidence).to_bytes(2, "big") + evidence.ljust(1600, b"\0")


def bound(epoch: int, period: bytes, name: bytes, blinded: bytes) -> bytes:
    return b"blindmatch/threshold-psi/voucher/v1" + epoch.to_bytes(8, "big") + period + name + blinded


def inner(key: bytes, data: bytes, plain: bytes) -> bytes:
    return seal(sha512("blindmatch/threshold/evidence-key/v1", key, data)[:32], plain, data)


# --- threshold-near: a voucher, and the centre's look at it


def mask(shared: bytes) -> bytes:
    return sha512("blindmatch/threshold-near/mask/v1", shared)[:16]


def near_voucher(world: dict[str, Any], asked: dict[str, Any], label: str) -> dict[str, Any]:
    """A voucher of an item, with what was drawn for it."""
    shares = world["shares"]
    probes = asked["probes"]
    own = asked["hash"]
    count = BANDS * probes
    tokens = [
        key_of_token(at, token)
        for at in range(BANDS)
        for token in probes_of(own, asked["coefficients"], at, probes)
    ]
    b = [scalar(f"{label} b{at}") for at in range(count)]
    c = scalar(f"{label} c")
    r = [scalar(f"{label} r{at}") for at in range(BANDS)]
    ranks = [drawn(f"{label} rank {at}", 8) for at in range(count)]
    order = sorted(range(count), key=lambda at: little(ranks[at]))
    key = drawn(f"{label} key", 16)
    noise = [drawn(f"{label} noise {at}", 16) for at in range(count)]
    other_key = drawn(f"{label} other key", 32)
    is_synthetic = shares.coin(own) < world["synthetic"]
    hits = shares.hits(own) if is_synthetic else 0
    rows = []
    for at, token in enumerate(tokens):
        blinded = plus(times(b[at], element_of(world["domain"], token)), base(c))
        places = places_of(world["domain"], world["keys"], token)
        shared = plus(times(b[at], value_of(world["cells"], places)), times(c, world["public"]))
        masked = noise[at] if is_synthetic else xor(mask(shared), key)
        if at < hits:
            blinded = base(r[at])
            masked = xor(mask(times(r[at], world["public"])), key)
        rows.append(blinded + masked)
    sent = b"".join(rows[at] for at in order)
    data = bound(world["epoch"], world["period"], shares.name, hashlib.sha256(sent).digest())
    digest = sha512("blindmatch/threshold-near/commitment/v1", data, key)
    kept = other_key if is_synthetic else shares.account_key
    share = shares.share(own, is_synthetic)
    sealed = seal(digest[32:], share + inner(kept, data, content(own, asked["evidence"])), data)
    return {
        "hash": own.hex(), "coefficients": asked["coefficients"], "evidence": asked["evidence"].hex(),
        "synthetic": is_synthetic, "drawn": {
            "other_key": other_key.hex(), "b": "".join(one.hex() for one in b), "c": c.hex(),
            "r": "".join(one.hex() for one in r), "ranks": "".join(one.hex() for one in ranks),
            "key": key.hex(), "noise": "".join(one.hex() for one in noise),
        },
        "tokens": b"".join(tokens).hex(), "voucher": (
            b"\x7c" + world["epoch"].to_bytes(8, "big") + shares.name + len(rows).to_bytes(4, "big") + sent
            + digest[:32] + sealed
        ).hex(),
    }  # fmt: skip


def near_looked_at(world: dict[str, Any], raw: bytes) -> dict[str, Any]:
    """Which of a voucher's tokens the centre sees listed, and what is under its outer seal."""
    name = raw[9:25]
    tokens = raw[29:-1994]
    commitment = raw[-1994:-1962]
    sealed = raw[-1962:]
    data = bound(world["epoch"], world["period"], name, hashlib.sha256(tokens).digest())
    listed = []
    key = None
    for at in range(0, len(tokens), 48):
        blinded = tokens[at : at + 32]
        masked = tokens[at + 32 : at + 48]
        tried = xor(mask(times(world["a"], blinded)), masked)
        digest = sha512("blindmatch/threshold-near/commitment/v1", data, tried)
        if digest[:32] == commitment:
            listed.append(at // 48)
            key = digest[32:]
    opened = None if key is None else unseal(key, sealed, data)
    return {"listed": listed, "bound": data, "opened": opened}


def decoded(world: dict[str, Any], looked: list[dict[str, Any]]) -> tuple[bytes | None, list[bytes | None]]:
    """Every t shares are tried: a key is right under which t vouchers near an entry open."""
    seen = [one for one in looked if one["opened"] is not None]
    points = [[little(one["opened"][at : at + 8]) for at in range(0, 264, 8)] for one in seen]
    for some in combinations(points, world["threshold"]):
        key = account_key([at_zero([(one[0], one[1 + at]) for one in some]) for at in range(32)])
        read = [
            one["opened"]
            and unseal(sha512("blindmatch/threshold/evidence-key/v1", key, one["bound"])[:32],
                       one["opened"][264:], one["bound"])
            for one in looked
        ]  # fmt: skip
        if (
            sum(raw is not None and nearest(world, raw[:32]) is not None for raw in read)
            >= world["threshold"]
        ):
            return key, [raw and raw[:32] for raw in read]
    return None, [None] * len(looked)


def at_zero(points: list[tuple[int, int]]) -> int:
    total = 0
    for x, value in points:
        above = below = 1
        for other, _ in points:
            if other != x:
                above = above * -other % FIELD
                below = below * (x - other) % FIELD
        total += value * above * pow(below, -1, FIELD)
    return total % FIELD


def nearest(world: dict[str, Any], own: bytes) -> bytes | None:
    def apart(entry: bytes) -> int:
        return (little(entry) ^ little(own)).bit_count()

    best: bytes = min(world["hashes"], key=apart)
    return best if apart(best) <= 31 else None


# --- the vectors


def made_world() -> dict[str, Any]:
    hashes = [drawn(f"entry {at}", 32) for at in range(3)]
    # two families, one with an entry that has no band's commonest token
    hashes += [flipped(hashes[0], band(0)[3]), flipped(hashes[0], band(0)[3], band(1)[5])]
    hashes += [flipped(hashes[2], band(5)[0], band(at)[at]) for at in (1, 2, 3)]
    hashes.append(flipped(hashes[2], *(band(at)[at] for at in range(5))))
    a = scalar("a")
    epoch = 3
    threshold = 2
    synthetic = 100
    expires = 2_000_000_000
    keys = listed_keys(hashes)
    for attempt in range(64):
        seed = bytes([attempt]) + drawn("seed", 31)
        cells = build(a, front(epoch, seed), keys)
        if cells is not None:
            break
    assert cells is not None
    period = period_of(base(a), threshold, synthetic, expires)
    return {
        "hashes": hashes, "a": a, "public": base(a), "epoch": epoch, "threshold": threshold,
        "synthetic": synthetic, "expires": expires, "seed": seed, "domain": front(epoch, seed),
        "keys": len(keys), "table_keys": keys, "cells": cells, "period": period,
        "shares": Shares(drawn("device key", 32), period, threshold),
    }  # fmt: skip


def item(world: dict[str, Any], own: bytes, probes: int, evidence: bytes = b"") -> dict[str, Any]:
    """Coefficients with the signs of the hash's bits; no two sets of a band cost the same."""
    sizes = [1 + little(drawn(f"size {own.hex()} {at}", 3)) for at in range(256)]
    signed = [float(size if bit else -size) for size, bit in zip(sizes, bits_of(own), strict=True)]
    return {"hash": own, "coefficients": signed, "probes": probes, "evidence": evidence}


def picture(world: dict[str, Any], label: str, is_synthetic: bool) -> bytes:
    """A hash that is on no list, whose coin falls as it should, and which made up has two tokens listed."""
    for at in range(10_000):
        own = drawn(f"{label} {at}", 32)
        shares = world["shares"]
        if (shares.coin(own) < world["synthetic"]) is is_synthetic and shares.hits(own) == 2:
            return own
    raise AssertionError


def copy(world: dict[str, Any], entry: bytes, bits: int) -> bytes:
    """A copy of an entry with so many bits of band 5 changed, whose coin says that it is real."""
    for places in combinations(band(5), bits):
        own = flipped(entry, *places)
        if world["shares"].coin(own) >= world["synthetic"]:
            return own
    raise AssertionError


def alike_in_one(world: dict[str, Any], entry: bytes) -> bytes:
    """A picture that is near no entry and has one token of one."""
    for at in range(1000):
        own = drawn(f"far {at}", 32)
        wanted = bits_of(entry)
        own = flipped(own, *(place for place in band(2) if bits_of(own)[place] != wanted[place]))
        if world["shares"].coin(own) >= world["synthetic"] and nearest(world, own) is None:
            return own
    raise AssertionError


def described(world: dict[str, Any]) -> dict[str, Any]:
    few = {
        "near the first entry": item(world, copy(world, world["hashes"][0], 2), 4),
        "near the second entry": item(world, copy(world, world["hashes"][1], 3), 4),
        "near none, with a token of one": item(world, alike_in_one(world, world["hashes"][2]), 4),
        "made up": item(world, picture(world, "made up", True), 4),
        "unlisted": item(world, picture(world, "unlisted", False), 4),
    }
    full = near_voucher(world, item(world, copy(world, world["hashes"][1], 6), 64, b"evidence"), "full")
    vouchers = {label: near_voucher(world, asked, label) for label, asked in few.items()}
    looked = {label: near_looked_at(world, bytes.fromhex(one["voucher"])) for label, one in vouchers.items()}
    for label, one in (*vouchers.items(), ("full", full)):
        seen = looked.get(label) or near_looked_at(world, bytes.fromhex(one["voucher"]))
        one["centre"] = {
            "listed": seen["listed"],
            "share": None if seen["opened"] is None else seen["opened"][:264].hex(),
            "inner": None if seen["opened"] is None else seen["opened"][264:].hex(),
        }
    accounts = []
    first, _, far, *_ = few
    for labels in (list(few), [first, "made up", "unlisted"], [first, far]):
        key, read = decoded(world, [looked[label] for label in labels])
        near_ones = [None if own is None else nearest(world, own) for own in read]
        accounts.append({
            "vouchers": labels, "account_key": None if key is None else key.hex(),
            "hashes": [None if own is None else own.hex() for own in read],
            "entries": [None if own is None else own.hex() for own in near_ones],
        })  # fmt: skip
    return {
        "design": "threshold-near", "version": 3, "epoch": world["epoch"],
        "parameters": {
            "threshold": world["threshold"], "synthetic": world["synthetic"],
            "key_expires": world["expires"],
        },
        "list": [one.hex() for one in world["hashes"]], "a": world["a"].hex(),
        "public": world["public"].hex(), "seed": world["seed"].hex(), "period": world["period"].hex(),
        "table": {
            "keys": [one.hex() for one in world["table_keys"]],
            "places": [places_of(world["domain"], world["keys"], one) for one in world["table_keys"]],
            "elements": [element_of(world["domain"], one).hex() for one in world["table_keys"]],
            "cells": [one.hex() for one in world["cells"]],
        },
        "device": {
            "key": drawn("device key", 32).hex(), "name": world["shares"].name.hex(),
            "account_key": world["shares"].account_key.hex(),
        },
        "full": full, "few": {"probes": 4, "vouchers": vouchers}, "accounts": accounts,
    }  # fmt: skip


# --- threshold-psi: what the committed sessions must be


def section(raw: bytes, kind: int) -> bytes:
    """Of a set file (docs/reference/set-format.md)."""
    at = little(raw[-72:-64][::-1])
    count = little(raw[-48:-44][::-1])
    parameters = little(raw[-44:-40][::-1])
    for row in range(count):
        begin = at + 40 * parameters + 64 * row
        if little(raw[begin : begin + 4][::-1]) == kind:
            offset, length = (little(raw[begin + place : begin + place + 8][::-1]) for place in (8, 16))
            return raw[offset : offset + length]
    raise AssertionError


def checked_psi() -> int:
    """Sessions of designs/threshold-psi.json, each made again from its tape."""
    held = json.loads((HERE / "designs" / "threshold-psi.json").read_text())
    file = bytes.fromhex(held["set"]["files"]["set.bin"])
    epoch = held["set"]["epoch"]
    first = section(file, 0x180)
    raw = section(file, 0x181)
    public = first[:32]
    domain = front(epoch, first[32:])
    entries = len(held["set"]["entries"])
    cells = [raw[at : at + 32] for at in range(0, len(raw), 32)]
    assert len(cells) == table_sizes(entries)[2]
    a = section(bytes.fromhex(held["set"]["files"]["opener.bin"]), 0x182)
    for one in held["set"]["entries"]:
        own = bytes.fromhex(one)
        value = value_of(cells, places_of(domain, entries, own))
        assert value == times(a, element_of(domain, own))
    period = period_of(public, 4, 10, 0)
    pictures = {one["name"]: one for one in held["items"]}
    for session in held["sessions"]:
        tape = bytes.fromhex(session["tape"])
        asked = pictures[session["item"]]
        own = bytes.fromhex(asked["hash"]) if asked["quality"] >= 50 else tape[:32]
        b, c = ((little(tape[at : at + 64]) % ORDER).to_bytes(32, "little") for at in (64, 128))
        shares = Shares(bytes.fromhex(session["state_before"])[1:], period, 4)
        is_synthetic = shares.coin(own) < 10
        blinded = base(c)
        shared = times(c, public)
        if not is_synthetic:
            value = value_of(cells, places_of(domain, entries, own))
            blinded = plus(times(b, element_of(domain, own)), blinded)
            shared = plus(times(b, value), shared)
        data = bound(epoch, period, shares.name, blinded)
        outer = sha512("blindmatch/threshold-psi/match-key/v1", shared, data)[:32]
        kept = tape[32:64] if is_synthetic else shares.account_key
        sealed = seal(outer, shares.share(own, is_synthetic) + inner(kept, data, content(own, b"")), data)
        voucher = b"\x7a" + epoch.to_bytes(8, "big") + shares.name + blinded + sealed
        assert voucher.hex() == session["outcome"]["voucher"], session["item"]
    return len(held["sessions"])


if __name__ == "__main__":
    assert checked_psi() == 4
    into = Path(sys.argv[1]) if sys.argv[1:] else HERE / "threshold-near-v3.json"
    into.write_text(json.dumps(described(made_world()), indent=1) + "\n")
    assert not any(name.startswith("blindmatch") for name in sys.modules)
