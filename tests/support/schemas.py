"""JSON Schemas: of files as the package has them, and as their types give them, which must be the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec
from blindmatch_simulations.evaluation.assess import plan
from blindmatch_simulations.evaluation.assess import results as results_files
from blindmatch_simulations.evaluation.assess.observed import (
    AloneRow,
    Check,
    Observed,
    PictureRow,
)
from blindmatch_simulations.evaluation.assess.running import RAW_VERSION
from blindmatch_simulations.evaluation.conformance.remote import counterpart
from blindmatch_simulations.evaluation.corpus import list_scan, merging, scan
from blindmatch_simulations.evaluation.studies import predictions, trying
from blindmatch_simulations.measure import results
from blindmatch_simulations.testbed.scenario import recording

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def committed(name: str) -> dict[str, Any]:
    """`NAME.schema.json` of the folder measure, or of data."""
    package = files("blindmatch_simulations")
    here = (package.joinpath(folder, f"{name}.schema.json") for folder in ("measure", "data"))
    file = next(one for one in here if one.is_file())
    loaded: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return loaded


def of_results() -> dict[str, Any]:
    """Of all results files, by their types."""
    return _made(results_files.AnyResults, f"{results.FORMAT} {results.VERSION}")


def of_designs() -> dict[str, Any]:
    """Of a design's own file, which is its row of the results."""
    return _made(results_files.Design, f"row of {results.FORMAT} {results.VERSION}")


def of_workloads() -> dict[str, Any]:
    """Of a workload, as TOML reads it."""
    return _made(plan.Plan, f"blindmatch-workload {plan.PLAN_VERSION}")


def of_recordings() -> dict[str, Any]:
    """Of a line of a recording; bytes are base64."""
    title = f"line of {recording.FORMAT} {recording.VERSION}"
    return _made(recording.Line, title, lambda kind: {"type": "string"})


def of_scans() -> dict[str, Any]:
    """Of scans, by their types."""
    return _made(scan.Scan, f"{scan.FORMAT} {scan.VERSION}")


def of_list_scans() -> dict[str, Any]:
    """Return the schema of scans of one folder against another."""
    return _made(list_scan.ListScan, f"{list_scan.FORMAT} 1")


def of_merged_scans() -> dict[str, Any]:
    """Return the schema of merged scans."""
    return _made(merging.Merged, f"{merging.MERGED} 1")


def of_predictions() -> dict[str, Any]:
    """Return the schema of the committed predictions."""
    return _made(predictions.Predictions, "blindmatch-predictions 1")


def of_tried() -> dict[str, Any]:
    """Return the schema of the file of what designs answer of the bundled pictures."""
    return _made(trying.Tried, f"{trying.FORMAT} {trying.VERSION}")


def of_manifests() -> dict[str, Any]:
    """Of manifests of counterparts, by their types."""
    return _made(counterpart.Manifest, f"{counterpart.FORMAT} {counterpart.VERSION}")


def of_rows() -> dict[str, Any]:
    """Of a line of a design's raw rows, by the types they are written from: what else was seen is `Observed`
    less the rows that stand by themselves and the declaration; a picture's kind is the picture's."""
    kinds = {"alone": AloneRow, "checks": Check, "run": Observed, "": PictureRow}
    refs, parts = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    for name, kind in kinds.items():
        if name:
            parts[kind.__name__]["properties"]["kind"] = {"const": name}
    run = parts["Observed"]
    for name in ("pictures", "alone", "design"):
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


def _made(kind: Any, title: str, hook: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """A schema by a type; `hook` gives those of types that msgspec does not know."""
    made = msgspec.json.schema(kind, schema_hook=hook)
    raw = msgspec.json.encode({"$schema": DRAFT, "title": title, **made})
    loaded: dict[str, Any] = msgspec.json.decode(raw)
    return loaded
