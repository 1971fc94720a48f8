"""Set-up and role files that must be refused when they are opened: missing, damaged, of another epoch.

A case says how the recorded file is changed, so that no file stands in a vector twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from blindmatch_protocol.contract import Role
from blindmatch_protocol.errors import SetFileError

from blindmatch_simulations.inprocess.deployed import Build

SETUP: Final = "open_setup"
ROLE: Final = "open_role"


def refused_files(build: Build) -> Iterator[dict[str, Any]]:
    """Every case that is refused at opening, with the rule."""
    for case in _cases(build):
        rule = refuses_file(build, case)
        if rule is not None:
            yield {**case, "rule": rule}


def refuses_file(build: Build, case: Mapping[str, Any]) -> str | None:
    """None if the files open as `case` has them, else the rule that it breaks."""
    files = dict(build.files)
    files[case["file"]] = changed(files[case["file"]], case["change"])
    if case["change"] == {"missing": True}:
        del files[case["file"]]
    published = build.published
    names: Sequence[str] = published.setup
    if case["step"] == ROLE:
        names = (*names, *published.roles[Role(case["role"])])
    given = {name: files[name] for name in names if name in files}
    try:
        if case["step"] == ROLE:
            build.design.open_role(Role(case["role"]), given)
        else:
            build.design.open_setup(given, case["epoch"])
    except SetFileError as error:
        return str(error)
    return None


def changed(raw: bytes, change: Mapping[str, Any]) -> bytes:
    """`raw` cut to a length, with other bytes behind it, or with one byte replaced."""
    if "length" in change:
        return raw[: change["length"]]
    if "append" in change:
        return raw + bytes.fromhex(change["append"])
    if "at" in change:
        return raw[: change["at"]] + bytes.fromhex(change["byte"]) + raw[change["at"] + 1 :]
    return raw


def _cases(build: Build) -> Iterator[dict[str, Any]]:
    epoch = build.epoch
    for name in build.published.setup:
        for how, change in _changes(build.files[name]):
            yield _case(SETUP, None, epoch, name, how, change)
        yield _case(SETUP, None, epoch + 1, name, "another epoch is expected", {})
    for role, names in build.published.roles.items():
        for name in names:
            for how, change in _changes(build.files[name]):
                yield _case(ROLE, str(role), epoch, name, how, change)


def _case(
    step: str, role: str | None, epoch: int, name: str, how: str, change: Mapping[str, Any]
) -> dict[str, Any]:
    return {"step": step, "role": role, "epoch": epoch, "file": name, "how": how, "change": dict(change)}


def _changes(raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Places of a set file (docs/set-format.md), by name."""
    yield "missing", {"missing": True}
    yield "empty", {"length": 0}
    yield "cut in the middle", {"length": len(raw) // 2}
    yield "last byte missing", {"length": len(raw) - 1}
    yield "a byte more", {"append": "00"}
    for how, at in (
        ("magic", 0),
        ("format version", 11),
        ("design", 16),
        ("version", 51),
        ("epoch", 63),
        ("section table or parameters", len(raw) - 80),
        ("length in the trailer", len(raw) - 57),
        ("digest", len(raw) - 40),
        ("end mark", len(raw) - 1),
    ):
        if 0 <= at < len(raw):
            yield f"altered: {how}", {"at": at, "byte": f"{raw[at] ^ 1:02x}"}
