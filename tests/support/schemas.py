"""JSON Schemas: of files as the package has them, and as their types give them, which must be the same."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import msgspec
from blindmatch_simulations.evaluation.assess.observed import (
    AloneRow,
    Check,
    HarnessRow,
    Observed,
    PictureRow,
)
from blindmatch_simulations.evaluation.assess.results import AnyResults
from blindmatch_simulations.evaluation.assess.running import RAW_VERSION
from blindmatch_simulations.evaluation.conformance.remote import counterpart
from blindmatch_simulations.evaluation.corpus import scan
from blindmatch_simulations.measure import results

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def committed(name: str) -> dict[str, Any]:
    """`data/NAME.schema.json`, or that of results."""
    folder = "measure" if name.startswith(("results", "rows")) else "data"
    file = files("blindmatch_simulations").joinpath(folder, f"{name}.schema.json")
    loaded: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return loaded


def of_results() -> dict[str, Any]:
    """Of all results files, by their types."""
    return _made(AnyResults, f"{results.FORMAT} {results.VERSION}")


def of_scans() -> dict[str, Any]:
    """Of scans, by their types."""
    return _made(scan.Scan, f"{scan.FORMAT} {scan.VERSION}")


def of_manifests() -> dict[str, Any]:
    """Of manifests of counterparts, by their types."""
    return _made(counterpart.Manifest, f"{counterpart.FORMAT} {counterpart.VERSION}")


def of_rows() -> dict[str, Any]:
    """Of a line of a design's raw rows, by the types they are written from: what else was seen is `Observed`
    less the rows that stand by themselves and the declaration; a picture's kind is the picture's."""
    kinds = {"alone": AloneRow, "harness": HarnessRow, "checks": Check, "run": Observed, "": PictureRow}
    refs, parts = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    for name, kind in kinds.items():
        if name:
            parts[kind.__name__]["properties"]["kind"] = {"const": name}
    run = parts["Observed"]
    for name in ("pictures", "alone", "harness", "design"):
        del run["properties"][name]
    run["properties"]["version"] = {"const": RAW_VERSION}
    left = [one for one in run["required"] if one in run["properties"]]
    run["required"] = ["version", *left]
    # a line has its kind; the same rows within another line have none
    tagged = ({"required": ["kind"]} if name else {} for name in kinds)
    lines = [{**ref, **kind} for ref, kind in zip(refs, tagged, strict=True)]
    head = {"$schema": DRAFT, "title": f"blindmatch-rows {RAW_VERSION}", "anyOf": lines}
    loaded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(head | {"$defs": parts}))
    return loaded


def _made(kind: Any, title: str) -> dict[str, Any]:
    raw = msgspec.json.encode({"$schema": DRAFT, "title": title, **msgspec.json.schema(kind)})
    loaded: dict[str, Any] = msgspec.json.decode(raw)
    return loaded
