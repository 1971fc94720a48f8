"""From a list to files under another back end than libsodium: what is taken up again, and who makes the rest.

The other back end is libsodium with faults planted in it, so that no special processor is needed.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.publishing import Progress, no_progress
from blindmatch_protocol.designs.voprf import VoprfDesign
from blindmatch_protocol.designs.voprf import files as building
from blindmatch_protocol.group.sodium import Libsodium
from support.memory import MemoryWorkspace, random_hashes
from support.voprf_world import DESIGNS, published, updated

COUNT = 40
BATCH = 16
each_design = pytest.mark.parametrize("design", DESIGNS)


class Other(Libsodium):
    """libsodium by another name; if it is `wrong`, the later half of its hashes are."""

    name = "other"  # type: ignore[misc]

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong
        self.hashed = 0

    def sha512(self, messages: Rows, front: bytes = b"") -> Rows:
        self.hashed += len(messages)
        digests = super().sha512(messages, front).copy()
        digests[len(digests) // 2 :] ^= np.uint8(self.wrong)
        return digests


class KilledError(Exception):
    """Where a build is cut off."""


def killed(done: int, total: int) -> None:
    raise KilledError


@pytest.fixture(autouse=True)
def short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("oprf_psi.design", "token_psi.build"):
        monkeypatch.setattr(import_module(f"blindmatch_protocol.designs.{module}"), "BATCH", BATCH)


def built(
    name: str, out: MemoryWorkspace | None = None, progress: Progress = no_progress
) -> dict[str, bytes]:
    return published(name, random_hashes(COUNT), out=out, progress=progress)


@each_design
def test_a_build_killed_under_another_back_end_goes_on_without_its_rows(
    design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = built(design)
    out = MemoryWorkspace()
    first = np.zeros(1, np.intp)
    monkeypatch.setattr(building, "sample", lambda rows, count: first)  # the faults are in no sample
    with group.using(Other(wrong=True)), pytest.raises(KilledError):
        built(design, out, killed)
    assert any(out.scratches[building.SCRATCH])
    assert built(design, out) == plain


@each_design
def test_a_build_killed_under_a_back_end_takes_up_its_rows_under_the_same(design: str) -> None:
    whole = Other()
    resumed = Other()
    out = MemoryWorkspace()
    with group.using(whole):
        plain = built(design)
    with group.using(Other()), pytest.raises(KilledError):
        built(design, out, killed)
    with group.using(resumed):
        assert built(design, out) == plain
    assert 0 < resumed.hashed < whole.hashed


@each_design
def test_what_is_made_of_the_rows_is_libsodiums(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections are outside the samples, so a fault of the back end must not reach them."""
    plain = built(design)
    other = Other()
    finish = building.ListBuild.finish

    def broken(*arguments: object) -> None:
        other.wrong = True
        finish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(building.ListBuild, "finish", broken)
    with group.using(other):
        assert built(design) == plain
    assert other.hashed


@each_design
def test_additions_that_are_there_are_found_by_libsodium(
    design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking them up is outside the samples, too."""
    files = built(design)
    other = Other()
    refuse = VoprfDesign._refuse_present

    def broken(*arguments: object) -> None:
        other.wrong = True
        refuse(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(VoprfDesign, "_refuse_present", broken)
    with group.using(other), pytest.raises(DesignError, match=r"addition 0 .* is in the set already"):
        updated(design, files, random_hashes(5))
    assert other.hashed
