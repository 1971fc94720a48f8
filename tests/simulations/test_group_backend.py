"""Which back end of the group a command computes with: by option, by the environment, and what tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import get_args

import pytest
from blindmatch_protocol import group
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import Backend, run
from blindmatch_simulations.measure.machine import GROUP_BACKEND, choose_group_backend, machine


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(GROUP_BACKEND, "")
    yield
    group.choose(group.Setting.LIBSODIUM)


def test_the_options_words_are_the_settings() -> None:
    assert {*get_args(Backend)} == {str(one) for one in group.Setting}


def test_an_option_before_the_command_is_taken_and_handed_on_to_processes() -> None:
    assert run(["--group-backend", "libsodium", "design", "list"]) == exit_codes.OK
    assert os.environ[GROUP_BACKEND] == "libsodium"
    assert machine().group_backend == group.described() == "libsodium"


def test_without_an_option_the_environment_counts_and_then_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[group.Setting]()
    monkeypatch.setattr(group, "choose", told.append)
    choose_group_backend()
    monkeypatch.setenv(GROUP_BACKEND, "jit")
    choose_group_backend()
    choose_group_backend("libsodium")
    assert told == [group.Setting.AUTO, group.Setting.JIT, group.Setting.LIBSODIUM]


@pytest.mark.parametrize(
    "arguments", [["--group-backend", "gpu", "design", "list"], ["--group-backend", "design"]]
)
def test_a_word_that_is_none_is_refused(arguments: list[str]) -> None:
    assert run(arguments) == exit_codes.USAGE


def test_a_word_of_the_environment_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(GROUP_BACKEND, "gpu")
    assert run(["design", "list"]) == exit_codes.REFUSED_INPUT
    assert f"{GROUP_BACKEND} must be auto, libsodium, jit, not 'gpu'" in capsys.readouterr().err
