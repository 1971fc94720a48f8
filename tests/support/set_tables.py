"""Parts of docs/reference/set-format.md that follow from code: kinds of sections, rows of the tables."""

from __future__ import annotations

import ast
import inspect
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

from blindmatch_proofs.endorsement import batch as endorsements
from blindmatch_proofs.endorsement import verify as trees
from blindmatch_protocol.designs import deltas, device_list_hashed, third_party
from blindmatch_protocol.designs.enclave import design as enclave
from blindmatch_protocol.designs.he_hamming import files as he_files
from blindmatch_protocol.designs.prefix_bucket import files as bucket_files
from blindmatch_protocol.designs.slot_psi import files as slot_files
from blindmatch_protocol.designs.threshold_near import design as threshold_near
from blindmatch_protocol.designs.threshold_psi import design as threshold_psi
from blindmatch_protocol.designs.threshold_psi import opener as threshold_opener
from blindmatch_protocol.designs.threshold_psi import shares as threshold_shares
from blindmatch_protocol.designs.threshold_psi import table as threshold_table
from blindmatch_protocol.designs.token_psi import layers as token_layers
from blindmatch_protocol.designs.voprf import files as voprf_files
from blindmatch_protocol.setfile import layout
from blindmatch_protocol.sets import filter as filters
from blindmatch_protocol.sets import labels, plain_list, store
from blindmatch_server.curator.endorsement import batches
from msgspec import Struct

from support.page_tables import ROOT, table

LISTED: Final = (plain_list, "KIND_HASHES KIND_IDS KIND_SALTS")
CHAIN: Final = (
    (store, "KIND"),
    (labels, "KIND"),
    (deltas, "PUBLIC_KEY_KIND PREVIOUS_KIND REMOVED_KIND"),
    (voprf_files, "SECRET_KEY_KIND SET_DIGEST_KIND"),
)
FILES: Final[Mapping[str, tuple[tuple[ModuleType, str], ...]]] = {
    "oprf-psi": (*CHAIN, (filters, "KIND")),
    "token-psi": (*CHAIN, (token_layers, "ADDRESSES_KIND")),
    "wide-psi": (*CHAIN, (filters, "KIND"), (token_layers, "ADDRESSES_KIND")),
    "split-psi": (*CHAIN, (filters, "KIND"), (deltas, "SHARE_KEYS_KIND")),
    "split-token-psi": (*CHAIN, (token_layers, "ADDRESSES_KIND"), (deltas, "SHARE_KEYS_KIND")),
    "slot-psi": (
        (deltas, "PUBLIC_KEY_KIND SHARE_KEYS_KIND"),
        (voprf_files, "SECRET_KEY_KIND SET_DIGEST_KIND"),
        (slot_files, "SECOND_KEY_KIND SHARD_KIND TOPS_KIND RECORDS_KIND RECORDS_DIGEST_KIND"),
    ),
    "prefix-bucket": (
        (deltas, "PUBLIC_KEY_KIND"),
        (voprf_files, "SECRET_KEY_KIND SET_DIGEST_KIND"),
        (bucket_files, "DIGESTS_KIND BUCKETS_KIND"),
    ),
    "hash-upload": (LISTED,),
    "partial-hash": (LISTED,),
    "provider-scan": (LISTED,),
    "device-list": (LISTED, (plain_list, "KIND_STARTS KIND_ROWS")),
    "device-list-hashed": ((device_list_hashed, "KIND_DIGESTS KIND_LABELS KIND_SALT"),),
    "third-party": (
        LISTED,
        (plain_list, "KIND_SIGNATURES"),
        (third_party, "KIND_SEALING KIND_SIGNING KIND_NOTHING"),
    ),
    "enclave": (
        LISTED,
        (enclave, "PLATFORM_KEY_KIND MEASUREMENTS_KIND SIGNING_KIND SEALING_KIND BLIND_KIND"),
    ),
    "carried-oprf-psi": (*CHAIN, (filters, "KIND"), (third_party, "KIND_SEALING")),
    "carried-token-psi": (*CHAIN, (token_layers, "ADDRESSES_KIND"), (third_party, "KIND_SEALING")),
    "carried-split-psi": (
        *CHAIN,
        (filters, "KIND"),
        (deltas, "SHARE_KEYS_KIND"),
        (third_party, "KIND_SEALING"),
    ),
    "he-hamming": ((labels, "KIND"), (he_files, "HASHES_KIND KEYS_KIND SET_DIGEST_KIND")),
    "threshold-psi": (LISTED, (threshold_psi, "PUBLIC_KIND CELLS_KIND SECRET_KIND")),
    "threshold-near": (LISTED, (threshold_psi, "PUBLIC_KIND CELLS_KIND SECRET_KIND")),
    "endorsement.bin": ((endorsements, "KIND_BATCHES KIND_LEAVES KIND_NUMBERS"),),
    "endorsement.tree": ((trees, "KIND_NODES KIND_STARTS KIND_STATEMENTS"),),
    "batches.bin": (LISTED, (endorsements, "KIND_BATCHES"), (batches, "KIND_ASKED")),
}
"""Whose files have sections of which kinds, by the names of their constants."""


def kinds_of(owner: str) -> set[int]:
    """The kinds of a design's files, or of a file."""
    return {getattr(module, name) for module, names in FILES[owner] for name in names.split()}


def every_kind() -> set[int]:
    """What any module of ours calls a kind of section."""
    constant = re.compile(r"^(?:KIND(?:_[A-Z]+)?|[A-Z_]+_KIND)(?:: Final)? = (0x[0-9a-fA-F]+)$", re.MULTILINE)
    return {
        int(number, 16)
        for room in ("protocol", "proofs", "client", "server")
        for path in (ROOT / room).rglob("*.py")
        for number in constant.findall(path.read_text("utf-8"))
    }


def kinds() -> str:
    """Every kind of section, what its constant says of it, and whose files have it."""
    told = dict(_documented())
    owners = {kind: [f"`{name}`" for name in FILES if kind in kinds_of(name)] for kind in sorted(told)}
    rows = [(f"0x{kind:02x}", told[kind], ", ".join(names)) for kind, names in owners.items()]
    return table(("kind", "what", "in"), rows)


def _documented() -> Iterator[tuple[int, str]]:
    """Each kind and what its constant says of it, where it says anything."""
    for module, names in {(module, names) for owned in FILES.values() for module, names in owned}:
        yield from _constants(module, names)


def _constants(module: ModuleType, names: str) -> Iterator[tuple[Any, str]]:
    """The values of a module's constants, with the docstrings below them."""
    for constant, text in pairwise(ast.parse(inspect.getsource(module)).body):
        target = constant.targets[0] if isinstance(constant, ast.Assign) else constant
        target = target.target if isinstance(target, ast.AnnAssign) else target
        if isinstance(target, ast.Name) and target.id in names.split() and isinstance(text, ast.Expr):
            yield getattr(module, target.id), " ".join(ast.literal_eval(text.value).split())


DERIVED: Final[Mapping[str, tuple[tuple[ModuleType, str], ...]]] = {
    "threshold-psi": (
        (threshold_table, "_HASH_TAG _PLACE_TAG _MOST_SEGMENT"),
        (
            threshold_shares,
            "_PLACE_TAG _NOISE_TAG _COIN_TAG _PATTERN_TAG _POLYNOMIAL_TAG _NAME_TAG _ACCOUNT_KEY_TAG",
        ),
        (threshold_opener, "_AD_TAG _MATCH_TAG _EVIDENCE_TAG"),
        (threshold_psi, "_PERIOD_TAG"),
    ),
    "threshold-near": ((threshold_near, "_MASK_TAG _COMMITMENT_TAG _FILLING HITS"),),
}
"""By what tags and numbers the bytes of a design's vouchers and table are derived."""


def derived(design: str) -> str:
    """What every tag and number is for, by its docstring."""
    rows = [
        (f"`{value.rstrip(bytes(1)).decode() if isinstance(value, bytes) else value}`", text)
        for module, names in DERIVED[design]
        for value, text in _constants(module, names)
    ]
    assert len(rows) == sum(len(names.split()) for _, names in DERIVED[design])
    return table(("tag, number", "what"), rows)


def rows_of(form: struct.Struct, kind: type[Struct], last: tuple[str, ...] = ()) -> str:
    """The fields of a packed row: offset, length, name and meaning."""
    described = re.findall(r"^    (\w+): (.*)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)
    sizes = [struct.calcsize(f">{one}") for one in re.findall(r"\d*[a-zA-Z]", form.format)]
    told = [(f"`{name}`: {text}") for name, text in described] + list(last)
    rows = [(str(sum(sizes[:at])), str(sizes[at]), told[at]) for at in range(len(sizes))]
    assert len(told) == len(sizes) and sum(sizes) == form.size
    return table(("offset", "bytes", "what"), rows)


END: Final = (f"`{layout.END_MAGIC.decode()}`",)
TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "the kinds of sections: make pages": kinds,
    **{f"the bytes of {name}: make pages": partial(derived, name) for name in DERIVED},
    "a row of the section table: make pages": lambda: rows_of(layout.SECTION, layout.Section),
    "the trailer: make pages": lambda: rows_of(layout.TRAILER, layout.Trailer, END),
}
"""What writes each block, by its name."""
