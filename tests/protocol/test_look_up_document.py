"""docs/reference/wire.md against the code: the order of the tape, and a look-up done with the pages alone."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.randomness import Recording, replayed
from blindmatch_protocol.contract import Request, Role, Session, answered
from blindmatch_protocol.group import sodium
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance.vector_cases import from_json
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, load_design
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "wire.md").read_text("utf-8")
DESIGNS = ROOT / "tests" / "vectors" / "designs"
NAMES = sorted(path.stem for path in DESIGNS.glob("*.json") if path.stem != "schema")


def vector_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DESIGNS / f"{name}.json").read_text("utf-8"))
    return loaded


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def rows_of(text: str) -> Iterator[list[str]]:
    """Cells of a page's table, without its head."""
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[1:]:
        yield [cell.strip() for cell in line.split(" | ")]


def test_a_packed_device_has_the_files_that_the_page_names(tmp_path: Path) -> None:
    home = tmp_path / "home"
    packed = tmp_path / "packed"
    assert run(["certs", "init", "--home", str(home)]) == 0
    assert run(["certs", "addresses", "--address", "relay=localhost:7401", "--home", str(home)]) == 0
    assert run(["certs", "pack", "device", str(packed), "--name", "alice", "--home", str(home)]) == 0
    made = {str(path.relative_to(packed)) for path in packed.rglob("*") if path.is_file()}
    named = set()
    for files, _ in rows_of(section("What a counterpart starts with")):
        first, *others = re.findall(r"`([^`]+)`", files)
        named |= {first, *(str(Path(first).with_name(one)) for one in others)}
    policies = {"endorsement.json", "log.json"}
    assert made - {"deployment.json"} == named - policies
    key = packed / "devices" / "alice" / "device-alice.key"
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert re.fullmatch(r"[0-9a-f]{64}\n", (packed / "curator" / "keys" / "curator.pub").read_text())


# --- the order of the tape -----------------------------------------------------------------------


def documented(name: str) -> tuple[list[int], list[int]]:
    """Bytes of each draw, of a device and of a server, as the page has them."""
    inner = name.removeprefix("carried-")
    for designs, device, server in rows_of(section("Order of the tape")):
        if f"`{inner}`" in designs:
            own, theirs = (sizes(cell, inner) for cell in (device, server))
            break
    else:
        raise AssertionError(f"the page has no tape of {inner}")
    if inner == name:
        return own, theirs
    roles = len(load_design(name).info.roles)
    return [*own, *([32] * roles)], [16, *theirs]


def sizes(cell: str, name: str) -> list[int]:
    found = re.findall(r"`(\d+)( n)?`", cell)
    return [int(size) * (len(requested(name)) if per_row else 1) for size, per_row in found]


def drawn(name: str) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """Bytes of each draw in the sessions of a vector: a device's, and those of a server with a key."""
    vector = vector_of(name)
    design = load_design(name)
    held = {file: bytes.fromhex(raw) for file, raw in vector["set"]["files"].items()}
    of_setup = {file: held[file] for file in vector["set"]["setup"]}
    setup = design.open_setup(of_setup, vector["set"]["epoch"])
    items = {one["name"]: from_json(one) for one in vector["items"]}
    device = set()
    server = set()
    for recorded in vector["sessions"]:
        tape = Recording(replayed(bytes.fromhex(recorded["tape"])))
        state = design.device_state.decode(bytes.fromhex(recorded["state_before"]))
        session = Session(design, setup, state, tape.rng)
        session.start(items[recorded["item"]])
        for turn in recorded["rounds"]:
            replies = {}
            for asked in turn:
                role = Role(asked["role"])
                files = of_setup | {file: held[file] for file in vector["set"]["roles"][role]}
                body = decode_any(design.requests[role], bytes.fromhex(asked["body"]), "request")
                own = Recording(replayed(bytes.fromhex(asked["tape"])))
                answered(design, role, design.open_role(role, files), Request(body, None), own.rng, None)
                if role != "buckets":
                    server.add(tuple(map(len, own.taken())))
                kinds = design.replies[role]
                replies[role] = decode_any(kinds, bytes.fromhex(asked["reply"]), "reply")
            session.receive(replies)
        device.add(tuple(map(len, tape.taken())))
        assert len(tape.tape()) == len(bytes.fromhex(recorded["tape"]))
    return device, server


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_the_draws_of_each_design_with_vectors(name: str) -> None:
    device, server = drawn(name)
    own, theirs = documented(name)
    assert device == {tuple(own)}
    assert server == ({tuple(theirs)} if load_design(name).info.roles else set())


def requested(name: str) -> list[bytes]:
    """Blinded elements of the first request of a vector, read as the page says."""
    turn = vector_of(name)["sessions"][0]["rounds"][0]
    return matrix(bytes.fromhex(turn[-1]["body"]), 9)


def matrix(body: bytes, at: int) -> list[bytes]:
    (count,) = struct.unpack_from(">I", body, at)
    return [body[at + 4 + 32 * row : at + 36 + 32 * row] for row in range(count)]


def test_every_built_in_design_is_on_the_page_of_tapes_or_said_to_have_none() -> None:
    text = section("Order of the tape")
    for one in built_in_designs():
        name = one.design.info.name.removeprefix("carried-")
        assert f"`{name}`" in text


def hash_to_group(data: bytes) -> bytes:
    """HashToGroup of RFC 9497, section 4.1, for the suite and mode of the page."""
    tag = b"HashToGroup-OPRFV1-\x01-ristretto255-SHA512"
    ending = tag + bytes([len(tag)])
    first = sha512(bytes(128) + data + struct.pack(">H", 64) + b"\0" + ending).digest()
    return sodium.hash_to_group(sha512(first + b"\x01" + ending).digest())


@pytest.mark.parametrize(
    ("name", "bands", "probes", "k", "width"), [("token-psi", 10, 16, 24, 4), ("wide-psi", 6, 40, 42, 8)]
)
def test_a_request_of_random_tokens_follows_from_the_tape_as_the_page_says(
    name: str, bands: int, probes: int, k: int, width: int
) -> None:
    (session,) = [one for one in vector_of(name)["sessions"] if one["item"] == "poor"]
    tape = bytes.fromhex(session["tape"])
    made = []
    for probe in range(probes):
        for band in range(bands):
            at = width * (band * probes + probe)
            token = int.from_bytes(tape[at : at + width], "big") >> (8 * width - k)
            data = b"blindmatch/token-psi/token/v1" + bytes([band]) + token.to_bytes(width, "big")
            at = width * bands * probes + 64 * len(made)
            made.append(sodium.multiply(sodium.reduce_scalar(tape[at : at + 64]), hash_to_group(data)))
    assert made == matrix(bytes.fromhex(session["rounds"][0][0]["body"]), 9)


# --- a look-up, step by step ---------------------------------------------------------------------

MASK = (1 << 64) - 1
P1 = 0x9E3779B185EBCA87
P2 = 0xC2B2AE3D27D4EB4F
P3 = 0x165667B19E3779F9
P4 = 0x85EBCA77C2B2AE63
P5 = 0x27D4EB2F165667C5


def xxh64(key: bytes) -> int:
    """XXH64 of 16 bytes under seed 0, written from its specification."""
    value = (P5 + len(key)) & MASK
    for (lane,) in struct.iter_unpack("<Q", key):
        lane = rotate(lane * P2 & MASK, 31) * P1 & MASK
        value = (rotate(value ^ lane, 27) * P1 + P4) & MASK
    value = (value ^ value >> 33) * P2 & MASK
    value = (value ^ value >> 29) * P3 & MASK
    return value ^ value >> 32


def rotate(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & MASK


def sections(file: bytes) -> dict[tuple[int, int], bytes]:
    """Contents of a set file's sections by kind and index, from its trailer and table."""
    at, _, _, count, parameters = struct.unpack_from(">QQQII", file, len(file) - 72)
    table = at + 40 * parameters
    rows = [struct.unpack_from(">IIQQ", file, table + 64 * row) for row in range(count)]
    return {(kind, index): file[offset : offset + length] for kind, index, offset, length in rows}


def key_of(tag: str, epoch: int, output: bytes, length: int) -> bytes:
    block = f"blindmatch/entry/{tag}/v2".encode().ljust(120, b"\0") + struct.pack(">Q", epoch)
    return sha512(block + output).digest()[:length]


def cells_of(shard: bytes, key: bytes) -> tuple[int, int, int]:
    """Places of the three cells of a key in the one map of a shard."""
    seed, segment, segments = struct.unpack_from("<QII", shard, 64 + 8)
    h = (xxh64(key) + seed) & MASK
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & MASK
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    h ^= h >> 33
    a = h * segments * segment >> 64
    return a, (a + segment) ^ ((h >> 18) % segment), (a + 2 * segment) ^ (h % segment)


def look_up(name: str) -> dict[str, str]:
    """Values of the steps for the picture `name` of the vectors of oprf-psi, from the session's tape."""
    vector = vector_of("oprf-psi")
    session = next(one for one in vector["sessions"] if one["item"] == name)
    item = next(one for one in vector["items"] if one["name"] == name)
    data = b"blindmatch/oprf-psi/pdq/v1" + bytes.fromhex(item["hash"])
    blind = sodium.reduce_scalar(bytes.fromhex(session["tape"])[32:96])
    (asked,) = session["rounds"][0]
    assert matrix(bytes.fromhex(asked["body"]), 9) == [sodium.multiply(blind, hash_to_group(data))]
    (evaluated,) = matrix(bytes.fromhex(asked["reply"]), 9)
    element = sodium.multiply(sodium.invert_scalar(blind), evaluated)
    framed = struct.pack(">H", len(data)) + data + struct.pack(">H", 32) + element
    output = sha512(framed + b"Finalize").digest()
    epoch = vector["set"]["epoch"]
    store_key = key_of("store-key", epoch, output, 16)
    mask = key_of("mask", epoch, output, 8)
    held = sections(bytes.fromhex(vector["set"]["files"]["set.bin"]))
    shard = held[0x01, 0]
    cells = cells_of(shard, store_key)
    words = [struct.unpack_from("<Q", shard, 64 + 32 + 8 * cell)[0] for cell in cells]
    number = words[0] ^ words[1] ^ words[2] ^ int.from_bytes(mask, "big")
    steps = {
        "OPRF output": output.hex(),
        "store key": store_key.hex(),
        "mask": mask.hex(),
        "cells": " ".join(map(str, cells)),
        "number": str(number),
    }
    if number >= len(vector["set"]["entries"]):
        return steps
    label_key = key_of("label-key", epoch, output, 32)
    record = held[0x02, number // 16384][88 * (number % 16384) :][:88]
    label = ChaCha20Poly1305(label_key).decrypt(bytes(12), record, None)
    return {**steps, "label key": label_key.hex(), "label": label.hex()}


def test_the_steps_of_the_page_lead_from_the_tape_to_the_label() -> None:
    steps = look_up("listed")
    told = {what: value.strip("`") for what, value in rows_of(section("A look-up, step by step"))}
    assert told == steps
    (session,) = [one for one in vector_of("oprf-psi")["sessions"] if one["item"] == "listed"]
    assert steps["label"].startswith(session["outcome"]["label"]["entry_hash"])


def test_the_number_of_a_picture_that_is_not_listed_is_no_entrys() -> None:
    assert "label" not in look_up("other")
