"""The stand-in's score where it is installed, and one plain line where it is not."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import NotInstalledError
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.testbed.deployment.registry import (
    RegistryError,
    all_designs,
    load_design,
    not_installed,
)
from blindmatch_simulations.testbed.pictures.crops import EDITS
from PIL import Image, ImageDraw

MODULE = "blindmatch_client.device_classifier"
NAME = "device-classifier"
LINE = f"{NAME}: not installed (make classifier"
needs_model = pytest.mark.skipif(NAME in not_installed(), reason="make classifier installs it")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without ONNX Runtime, in which the design is loaded for the first time."""
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    spec = find_spec

    def other(name: str, *rest: Any) -> Any:
        return None if name in ("onnxruntime", "rapidocr_onnxruntime") else spec(name, *rest)

    monkeypatch.setattr("importlib.util.find_spec", other)


@pytest.mark.usefixtures("without")
def test_what_is_not_installed_is_one_line_and_everything_else_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not_installed()[NAME].startswith(LINE)
    assert NAME not in all_designs()
    assert load_design("none").info.name == "none"
    assert run(["design", "list"]) == 0
    assert LINE in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("without")
def test_asking_for_it_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RegistryError, match="not installed"):
        load_design(NAME)
    assert run(["demo", "--design", NAME]) == 6
    assert LINE in " ".join(capsys.readouterr().err.split())


def drawn(text: str, side: int = 256) -> Picture:
    image = Image.new("RGB", (side, side), (90, 120, 90))
    ImageDraw.Draw(image).text((side // 8, side // 2), text, fill="white", font_size=side // 8)
    return Picture.from_pixels(np.asarray(image))


@needs_model
def test_a_picture_with_words_scores_more_and_the_same_each_time() -> None:
    relation = load_design(NAME).info.relation
    assert relation.matches(drawn("seen this one?"), np.zeros((0, 32), np.uint8))
    assert not relation.matches(drawn(""), np.zeros((0, 32), np.uint8))
    score = importlib.import_module(MODULE).score
    assert score(drawn("again")) == score(drawn("again")) > 0


@needs_model
def test_a_picture_is_scored_at_one_size() -> None:
    score = importlib.import_module(MODULE).score
    small = score(drawn("a caption", 160))
    large = score(drawn("a caption", 640))
    assert abs(small - large) < 0.5 * max(small, large)


@needs_model
@pytest.mark.parametrize("shape", [(1, 1), (7, 900), (900, 7)])
def test_a_picture_of_any_shape_has_a_score(shape: tuple[int, int]) -> None:
    score = importlib.import_module(MODULE).score
    assert score(Picture.from_pixels(np.zeros((*shape, 3), np.uint8))) == 0


@needs_model
def test_another_model_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = importlib.import_module(MODULE)
    other = tmp_path / "model.onnx"
    other.write_bytes(b"another")
    monkeypatch.setattr(module, "find_model", lambda: other)
    module._open_session.cache_clear()
    with pytest.raises(NotInstalledError, match="not the file that was chosen"):
        module.score(drawn("text"))
    module._open_session.cache_clear()


@needs_model
@pytest.mark.slow
def test_the_study_measures_the_installed_design() -> None:
    from blindmatch_simulations.testbed.pictures.crops import crops
    from support.classifier_study import after_edits, category, scored

    of = category()
    samples = crops(6, 11)
    found = scored(of, samples)
    assert found.roc()[0][1].hits >= 16
    assert all(none.hits == 0 for _, _, none in found.roc())
    assert after_edits(of, samples)["jpeg-30"].hits >= 5
    assert len(EDITS) > len(after_edits(of, samples[:1]))
