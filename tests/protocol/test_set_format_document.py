"""docs/reference/set-format.md against the code: kinds, and an index that is read with the document alone."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.crypto.oprf import evaluate
from blindmatch_protocol.designs import token_psi
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.layers import AddressIndex, index_parts
from blindmatch_protocol.designs.token_psi.shares import candidates
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.setfile.layout import HEADER, unpack_header
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.fuse_map import Words
from support import set_tables

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"


def test_every_kind_of_section_is_of_a_file_and_documented() -> None:
    owned = set.union(*map(set_tables.kinds_of, set_tables.FILES))
    documented = {
        int(kind, 16) for kind in re.findall(r"^\| (0x[0-9a-f]+) ", set_tables.kinds(), re.MULTILINE)
    }
    assert documented == owned == set_tables.every_kind()


@pytest.mark.parametrize("path", sorted((VECTORS / "designs").glob("*-*.json")), ids=lambda path: path.stem)
def test_the_files_of_a_design_have_sections_of_its_kinds_alone(path: Path) -> None:
    vectors = json.loads(path.read_text())
    for name, content in vectors["set"]["files"].items():
        whole = bytes.fromhex(content)
        made_for = unpack_header(whole[: HEADER.size]).design  # a carried design has another's files, too
        assert vectors["design"] in (made_for, f"carried-{made_for}")
        file = SetFile(whole, name, made_for, vectors["version"])
        assert {kind for kind, _ in file.sections} <= set_tables.kinds_of(vectors["design"]), name


# --- section 0x105, read with the document alone


def read_index(content: bytes, n: int, address: int) -> list[int]:
    """Numbers of the labels that may lie at `address`; written from the document, without the code."""
    m = (max(n, 1) - 1).bit_length()
    b = max(0, m - 3)
    c = m + 3
    directory = struct.unpack_from(f"<{2**b + 1}I", content)
    fingerprints = struct.unpack_from(f"<{n}I", content, 4 * (2**b + 1))
    bitmap = content[4 * (2**b + 1 + n) :]
    assert len(bitmap) == 2 ** (c - 3)
    assert directory[0] == 0 and list(directory) == sorted(directory) and directory[-1] == n
    place = address % 2**c
    if not bitmap[place // 8] >> place % 8 & 1:
        return []
    bucket = address // 2 ** (64 - b)
    wanted = address // 2 ** (32 - b) % 2**32
    return [at for at in range(directory[bucket], directory[bucket + 1]) if fingerprints[at] == wanted]


def sorted_addresses(count: int) -> Words:
    return np.sort(np.random.default_rng(count).integers(0, 2**64, count, np.uint64, endpoint=False))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9, 16, 17, 1000])
def test_a_reader_made_from_the_document_finds_every_label_and_what_the_code_finds(count: int) -> None:
    listed = sorted_addresses(count)
    content = b"".join(index_parts(listed))
    for number, address in enumerate(listed.tolist()):
        assert number in read_index(content, count, address)
    strangers = np.random.default_rng(7).integers(0, 2**64, 200, np.uint64, endpoint=False)
    index = AddressIndex(memoryview(content), count)
    for address in (*listed.tolist(), *strangers.tolist()):
        _, numbers = index.lookup(np.array([address], np.uint64))
        assert read_index(content, count, address) == sorted(numbers.tolist())


def test_a_reader_made_from_the_document_finds_the_labels_of_the_frozen_set() -> None:
    files = {name: (VECTORS / f"token-psi-v2-{name}").read_bytes() for name in ("set.bin", "matcher.bin")}
    setup = token_psi.DESIGN.open_setup(files)
    key = token_psi.DESIGN.open_role(MATCHER, files).key
    file = setup.layers[0].file
    t = setup.tokening
    content = bytes(file.section(0x105))
    count = file.row(0x105).items
    sealed = labels.SealedLabels(file, count, 0)
    for text in json.loads((VECTORS / "token-psi-v2.json").read_text())["hashes"]:
        own = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(1, 32)
        outputs = evaluate(key, oprf_inputs(entry_tokens(own, t.k, t.bands)))
        epoch = setup.epoch
        read = setup.layers[0].values(shares.token_keys(outputs, epoch))
        opened = set()
        for secret in candidates(read.reshape(-1, 1, 16), t.needed).reshape(-1, 1, 16):
            (address,) = shares.addresses(secret, epoch).tolist()
            for number in read_index(content, count, address):
                found = sealed.unseal(shares.label_keys(secret, epoch).tobytes(), number)
                opened |= set() if found is None else {found.entry_hash.hex()}
        # members of a family share the first one's secret
        assert opened and hamming_of(text, opened.pop()) <= 31


def hamming_of(left: str, right: str) -> int:
    return (int(left, 16) ^ int(right, 16)).bit_count()
