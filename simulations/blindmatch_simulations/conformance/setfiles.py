"""Set-up and role files: truncated or altered ones are refused, or the damage has no effect at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.randomness import Randomness
from msgspec.structs import replace

from blindmatch_simulations.conformance.fixtures import Fixtures
from blindmatch_simulations.inprocess.deployed import opened, run_session
from blindmatch_simulations.inprocess.seeded import below
from blindmatch_simulations.inprocess.verdict import BrokenError, Passed, refused

FLIPS = 40
"""Altered bytes for each file, beside those at both ends."""
TRUNCATIONS = 60


def check_setup_files(fixtures: Fixtures) -> Passed:
    """The set-up on a device."""
    return _check(fixtures, fixtures.build.setup_files, "open_setup")


def check_role_files(fixtures: Fixtures) -> Passed:
    """The files of every role."""
    names = {name for own in fixtures.build.published.roles.values() for name in own}
    if not names:
        return Passed("no role has a file of its own")
    return _check(fixtures, {name: fixtures.build.files[name] for name in names}, "open_role")


def _check(fixtures: Fixtures, files: Mapping[str, bytes], step: str) -> Passed:
    tried = harmless = 0
    for name, raw in files.items():
        for altered, what in altered_copies(raw, fixtures.rng(f"file/{name}")):
            if not _refused(fixtures, {**fixtures.build.files, name: altered}, step, f"{name}: {what}"):
                harmless += 1
            tried += 1
    words = f"{tried} truncated or altered files, {tried - harmless} refused"
    if harmless:
        words += f"; {harmless} alterations had no effect on any session"
    return Passed(words, {"tried": tried, "without_effect": harmless})


def altered_copies(
    raw: bytes, rng: Randomness, truncations: int = TRUNCATIONS, flips: int = FLIPS
) -> Iterator[tuple[bytes, str]]:
    """Truncated copies of a file, a longer one and ones with a bit flipped, and what was done to each."""
    for _ in range(truncations):
        at = below(rng, len(raw))
        yield raw[:at], f"truncated to {at} bytes"
    yield raw + b"\0", "a byte more"
    ends = [*range(0, 64, 8), *range(len(raw) - 64, len(raw), 8)]
    for at in [*ends, *(below(rng, len(raw)) for _ in range(flips))]:
        altered = bytearray(raw)
        altered[at] ^= 1 << below(rng, 8)
        yield bytes(altered), f"byte {at} altered"


def _refused(fixtures: Fixtures, files: Mapping[str, bytes], step: str, what: str) -> bool:
    """Is the damage refused with a `SetFileError`, at opening or at first use?

    Raises:
        BrokenError: if it ends in another error or changes what a session does.
    """

    def same() -> None:
        if _sessions(fixtures, files) != _sessions(fixtures, fixtures.build.files):
            raise BrokenError(step, f"{what}: taken, and sessions end differently")

    return refused(step, f"{what}:", same, SetFileError)


def _sessions(fixtures: Fixtures, files: Mapping[str, bytes]) -> list[Any]:
    deployed = opened(replace(fixtures.build, files=files))
    found: list[Any] = []
    for one in (*fixtures.pool.of("listed")[:1], *fixtures.pool.of("other")[:1]):
        ran = run_session(deployed, one.item, fixtures.rng(f"damaged/{one.name}"))
        found += [ran.outcome, *(asked.verdict for asked in ran.asked)]
    return found
