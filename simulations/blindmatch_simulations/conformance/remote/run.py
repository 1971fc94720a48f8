"""Runs the checks of one foreign counterpart and gathers their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

from blindmatch_protocol.contract import AnyDesign, Role

from blindmatch_simulations.conformance.remote.counterpart import Counterpart
from blindmatch_simulations.conformance.remote.manifest import HeldManifest
from blindmatch_simulations.conformance.remote.material import Material
from blindmatch_simulations.conformance.remote.table import NOT_REMOTE, REMOTE_CHECKS
from blindmatch_simulations.conformance.run import Report, judged
from blindmatch_simulations.inprocess.verdict import Result, Verdict


def check_remote(
    design: AnyDesign,
    held: HeldManifest,
    addresses: Mapping[Role, str],
    seed: int = 1,
    only: Sequence[str] = (),
    watch: Callable[[str], None] = lambda name: None,
) -> Report:
    """Run the checks against whoever plays the roles at `addresses`; `watch` is told each check's name.

    Raises:
        ManifestError: if the manifest is for another design, or a file it names cannot be used.
        SetFileError: if the set-up cannot be opened.
        ServiceError: if the counterpart cannot be called at all.
    """
    held.check_for(design)
    manifest = held.manifest
    names = {Role(role): name for role, name in manifest.credentials.server_names.items()}
    seconds = manifest.limits.answer_ms / 1000
    most = manifest.limits.reply_bytes
    counterpart = Counterpart(design, addresses, names, held.credentials(), manifest.epoch, seconds, most)
    try:
        material = Material(design, held, counterpart, seed)
        counterpart.require()
        results, took = _results(material, only, watch)
    finally:
        counterpart.close()
    info = design.info
    return Report(info.name, info.version, seed, False, tuple(results), took)


def _results(
    material: Material, only: Sequence[str], watch: Callable[[str], None]
) -> tuple[list[Result], dict[str, float]]:
    results: list[Result] = []
    took: dict[str, float] = {}
    for check in (c for c in REMOTE_CHECKS if not only or c.name in only):
        watch(check.name)
        start = perf_counter()
        results.append(judged(check.name, partial(check.run, material)))
        took[check.name] = round(perf_counter() - start, 2)
    for name, reason in NOT_REMOTE.items():
        if not only or name in only:
            results.append(Result(name, Verdict.NOT_APPLICABLE, reason))
            took[name] = 0.0
    return results, took
