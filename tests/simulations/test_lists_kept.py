"""Neither a list nor what an epoch serves is lost by a mistake in a name, and no id is ever given twice."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_server.curator import importing, open_list, random_hashes
from blindmatch_server.epochs import building
from blindmatch_simulations.cli import list_build
from support.command import COMMAND, SECONDS, environment, in_process

USAGE = 2
REFUSED = 6
BAD_STATE = 4
BUILD = ("list", "build")


def command(home: Path, *arguments: object, code: int = 0) -> Any:
    """Run a command; what it answers as JSON, or its errors on one line."""
    ran = in_process(home, *arguments, "--json", "-")
    assert ran.code == code, ran.err
    return json.loads(ran.out) if not code else " ".join(ran.err.replace("│", " ").split())


def file_of(path: Path, count: int, seed: str) -> Path:
    path.write_text("".join(f"pdq {row.tobytes().hex()}\n" for row in random_hashes(count, seeded(seed))))
    return path


def ids_of(home: Path, name: str) -> list[int]:
    with open_list(home / "curator" / "lists" / f"{name}.list") as listed:
        return [int(number) for number in listed.ids]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that serves the list `known` of twenty entries."""
    home = tmp_path_factory.mktemp("kept") / "home"
    assert in_process(home, "certs", "init").code == 0
    command(home, "list", "random", 20, "known")
    command(home, *BUILD, "known")
    return home


@pytest.fixture
def home(once: Path, tmp_path: Path) -> Path:
    shutil.copytree(once, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return file_of(tmp_path / "few.txt", 3, "few")


def test_an_import_into_a_list_that_is_there_is_refused_and_says_how_to_go_on(home: Path, few: Path) -> None:
    said = command(home, "list", "import", few, "known", code=USAGE)
    assert "there is a list known: --onto known to add to it, another name, or --replace to lose it" in said
    assert ids_of(home, "known") == list(range(1, 21))


def test_an_import_onto_another_list_does_not_replace_one_either(home: Path, few: Path) -> None:
    command(home, "list", "random", 5, "other")
    assert "there is a list known" in command(
        home, "list", "import", few, "known", "--onto", "other", code=USAGE
    )
    assert "keeps it" in command(
        home, "list", "import", few, "known", "--onto", "known", "--replace", code=USAGE
    )
    command(home, "list", "import", few, "known", "--onto", "other", "--replace")
    assert ids_of(home, "known") == [21, 22, 23, 24, 25, 26, 27, 28]


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--replace"], REFUSED), (["--onto", "known"], REFUSED), (["--onto", "none"], USAGE)],
)
def test_an_import_that_fails_leaves_the_list(
    home: Path, tmp_path: Path, options: list[str], code: int
) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    command(home, "list", "import", tmp_path / "empty.txt", "known", *options, code=code)
    assert ids_of(home, "known") == list(range(1, 21))
    missing = command(home, "list", "import", tmp_path / "empty.txt", "new", "--onto", "none", code=BAD_STATE)
    assert "no list is called none" in missing


def test_no_id_is_given_again_after_a_replacement_a_removal_or_a_failed_import(
    home: Path, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(home, "list", "import", few, "known", "--replace")
    assert ids_of(home, "known") == [21, 22, 23]
    command(home, "list", "random", 2, "known", "--replace")
    assert ids_of(home, "known") == [24, 25]
    (home / "curator/lists/known.list").unlink()
    command(home, "list", "import", few, "known")
    assert ids_of(home, "known") == [26, 27, 28]
    record = {
        "lastModtimestamp": 9,
        "hashValue": few.read_text().splitlines()[-1].split()[1],
        "hashStatus": "Withdrawn",
        "signalType": "ImagePDQ",
    }
    withdrawn = json.dumps({"hashRecords": [record], "count": 1, "hasMoreRecords": False})
    (tmp_path / "gone.json").write_text(withdrawn)
    assert command(home, "list", "import", tmp_path / "gone.json", "known", "--onto", "known")["removed"] == 1
    more = file_of(tmp_path / "more.txt", 1, "more")
    command(home, "list", "import", more, "known", "--onto", "known")
    assert ids_of(home, "known") == [26, 27, 29]

    def fail(*_: object) -> None:
        raise RuntimeError("the machine stops")

    with monkeypatch.context() as patched:
        patched.setattr(importing.ListWriter, "publish", fail)
        with pytest.raises(RuntimeError, match="the machine stops"):
            in_process(home, "list", "import", few, "next")
    command(home, "list", "import", few, "next")
    assert ids_of(home, "next") == [33, 34, 35]


def test_copies_of_a_list_that_go_on_apart_share_no_new_id(home: Path, few: Path, tmp_path: Path) -> None:
    lists = home / "curator/lists"
    shutil.copy(lists / "known.list", lists / "copy.list")
    command(home, "list", "import", few, "copy", "--onto", "copy")
    command(home, "list", "import", file_of(tmp_path / "2.txt", 2, "2"), "known", "--onto", "known")
    assert ids_of(home, "copy")[20:] == [21, 22, 23] and ids_of(home, "known")[20:] == [24, 25]


def test_pictures_go_on_adding(home: Path, tmp_path: Path, samples: Path) -> None:
    made = command(home, "list", "pictures", samples / "listed", "known")
    assert made["removed"] == 0 and made["entries"] == 20 + made["added"] and made["added"] > 0
    assert ids_of(home, "known")[20] == 21


def older(home: Path) -> None:
    """Take away what versions before this one did not write."""
    shutil.rmtree(home / "curator/sources")
    (home / "curator/lists/next_id").unlink()


def test_ids_go_on_far_above_those_that_an_older_version_may_have_published(home: Path, few: Path) -> None:
    """An older version replaced a list of 20 by one of 3, whose ids began at 1 again."""
    older(home)
    command(home, "list", "import", few, "known", "--replace")
    assert ids_of(home, "known") == [2**32 + n for n in range(3)]
    command(home, "list", "random", 2, "other")
    assert ids_of(home, "other") == [2**32 + 3, 2**32 + 4]


def test_ids_of_older_lists_that_were_never_published_go_on_after_them(tmp_path: Path, few: Path) -> None:
    home = tmp_path / "home"
    assert in_process(home, "certs", "init").code == 0
    command(home, "list", "random", 7, "known")
    (home / "curator/lists/next_id").unlink()
    command(home, "list", "import", few, "other")
    assert ids_of(home, "other") == [8, 9, 10]


def test_a_damaged_count_of_ids_is_refused_with_what_to_do(home: Path, few: Path) -> None:
    (home / "curator/lists/next_id").write_text("many\n")
    assert "must hold one number: restore it" in command(home, "list", "import", few, "x", code=BAD_STATE)


def test_another_list_is_published_only_if_the_one_before_is_named(home: Path) -> None:
    command(home, "list", "random", 30, "other")
    said = command(home, *BUILD, "other", code=USAGE)
    assert "epoch 1 was published from the list known, not from other" in said
    assert "--instead-of known to publish other in its place" in said
    said = command(home, *BUILD, "other", "--instead-of", "third", code=USAGE)
    assert "published from the list known" in said
    said = command(home, *BUILD, "other", "--instead-of", "known", code=USAGE)
    assert "other lacks 20 of the 20 entries of epoch 1" in said and "--yes publishes" in said
    assert command(home, *BUILD, "other", "--instead-of", "known", "--yes")["epoch"] == 2
    assert "epoch 2 was published from the list other" in command(home, *BUILD, "known", "--yes", code=USAGE)


@pytest.mark.parametrize("do", [shutil.move, shutil.copy])
def test_a_list_that_was_renamed_or_copied_is_another_list(home: Path, do: Callable[..., object]) -> None:
    lists = home / "curator/lists"
    do(lists / "known.list", lists / "same.list")
    assert "published from the list known" in command(home, *BUILD, "same", code=USAGE)
    assert command(home, *BUILD, "same", "--instead-of", "known")["epoch"] == 2, "the entries are the same"


def test_a_file_copied_over_the_list_is_found_by_what_it_removes(home: Path) -> None:
    command(home, "list", "random", 30, "other")
    lists = home / "curator/lists"
    shutil.copyfile(lists / "other.list", lists / "known.list")
    assert "known lacks 20 of the 20 entries" in command(home, *BUILD, "known", code=USAGE)


@pytest.mark.parametrize(("kept", "asks"), [(11, False), (10, False), (9, True), (0, True)])
def test_a_build_asks_before_more_than_half_of_the_entries_are_removed(
    home: Path, tmp_path: Path, kept: int, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_list(home / "curator/lists/known.list") as listed:
        lines = [f"pdq {row.tobytes().hex()}" for row in listed.hashes[:kept]]
    extra = file_of(tmp_path / "extra.txt", 40, "extra").read_text().splitlines()
    (tmp_path / "half.txt").write_text("\n".join([*lines, *extra]))
    command(home, "list", "import", tmp_path / "half.txt", "known", "--replace")
    if not asks:
        assert command(home, *BUILD, "known")["epoch"] == 2
        return
    said = command(home, *BUILD, "known", code=USAGE)
    assert f"known lacks {20 - kept} of the 20 entries of epoch 1; nothing is published" in said
    monkeypatch.setattr(list_build.sys.stdin, "isatty", lambda: True, raising=False)
    asked = []

    def confirm(question: str, **_: object) -> None:
        asked.append(question)
        if len(asked) == 1:
            raise list_build.typer.Abort

    monkeypatch.setattr(list_build.typer, "confirm", confirm)
    command(home, *BUILD, "known", code=USAGE)
    assert command(home, *BUILD, "known")["epoch"] == 2
    assert asked == [f"known lacks {20 - kept} of the 20 entries of epoch 1. Publish?"] * 2


def test_an_epoch_of_an_older_version_is_followed_only_on_purpose(home: Path) -> None:
    older(home)
    said = command(home, *BUILD, "known", code=USAGE)
    assert "not known which list epoch 1 was published from" in said and "--yes" in said
    assert command(home, *BUILD, "known", "--yes")["epoch"] == 2
    assert command(home, *BUILD, "known")["epoch"] == 3


def test_a_list_of_another_deployment_does_not_take_ids_that_are_given(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert in_process(other, "certs", "init").code == 0
    command(other, "list", "random", 25, "known")
    shutil.copyfile(other / "curator/lists/known.list", home / "curator/lists/known.list")
    said = command(home, *BUILD, "known", "--yes", code=REFUSED)
    assert "id 1 is of another entry in epoch 1" in said


def test_an_update_goes_from_the_list_as_it_was_published(home: Path, few: Path) -> None:
    command(home, "list", "import", few, "next", "--onto", "known")
    command(home, "list", "import", few, "known", "--replace")
    command(home, "list", "random", 20, "known", "--replace")
    said = command(home, *BUILD, "next", "--from", "known", code=REFUSED)
    assert "name the list that the epoch was built from" in said


def test_a_build_that_was_cut_off_before_its_epoch_is_served_keeps_what_the_last_was_made_of(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the machine stops")

    command(home, "list", "random", 30, "other")
    with monkeypatch.context() as patched:
        patched.setattr(building, "replace_file", fail)
        with pytest.raises(RuntimeError, match="the machine stops"):
            in_process(home, *BUILD, "known")
    assert "epoch 1 was published from the list known" in command(home, *BUILD, "other", code=USAGE)
    assert command(home, *BUILD, "known")["epoch"] == 2
    assert [path.name for path in (home / "curator/sources/oprf-psi").iterdir()] == ["2"]


def test_what_an_epoch_is_made_of_is_the_curators_alone_and_is_not_packed(home: Path, tmp_path: Path) -> None:
    (kept,) = (home / "curator/sources").rglob("*.list")
    assert kept.stat().st_mode & 0o077 == 0
    assert in_process(home, "certs", "pack", "matcher", tmp_path / "packed").code == 0
    assert not list((tmp_path / "packed").rglob("*.list"))


def test_a_list_that_is_replaced_while_somebody_is_asked_is_not_published_in_its_place(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says yes says it of the entries that the question was about."""
    with open_list(home / "curator/lists/known.list") as listed:
        kept = listed.hashes[:9].copy()
    lines = "".join(f"pdq {row.tobytes().hex()}\n" for row in kept)
    (tmp_path / "nine.txt").write_text(lines)
    command(home, "list", "import", tmp_path / "nine.txt", "known", "--replace")
    other = file_of(tmp_path / "other.txt", 4, "other")

    def confirm(*_: object, **__: object) -> None:
        command(home, "list", "import", other, "known", "--replace")

    monkeypatch.setattr(list_build.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(list_build.typer, "confirm", confirm)
    assert command(home, *BUILD, "known")["entries"] == 9


def test_no_id_is_given_again_by_lists_that_are_put_back_from_a_copy(home: Path, few: Path) -> None:
    """The count of ids is put back with them; what was published since says what more was given."""
    lists = home / "curator/lists"
    shutil.copytree(lists, home / "copy")
    command(home, "list", "import", few, "known", "--onto", "known")
    command(home, *BUILD, "known")
    shutil.rmtree(lists)
    (home / "copy").rename(lists)
    command(home, "list", "random", 2, "other")
    assert ids_of(home, "other") == [24, 25]


def test_a_link_that_has_a_name_is_a_list_that_is_there(home: Path, few: Path) -> None:
    lists = home / "curator/lists"
    (lists / "alias.list").symlink_to("known.list")
    assert "there is a list alias" in command(home, "list", "import", few, "alias", code=USAGE)
    assert "there is a list alias" in command(
        home, "list", "import", few, "alias", "--onto", "known", code=USAGE
    )
    assert "published from the list known" in command(home, *BUILD, "alias", code=USAGE)
    command(home, "list", "import", few, "alias", "--onto", "alias")
    assert ids_of(home, "known") == list(range(1, 21)) and len(ids_of(home, "alias")) == 23


def test_imports_at_the_same_time_share_no_id(home: Path, few: Path) -> None:
    def begin(name: str) -> subprocess.Popen[bytes]:
        arguments = [*COMMAND, "list", "import", few, name]
        return subprocess.Popen(arguments, env=environment(home), stdout=subprocess.DEVNULL)

    names = ("one", "two", "three")
    assert [process.wait(SECONDS) for process in list(map(begin, names))] == [0, 0, 0]
    given = [number for name in names for number in ids_of(home, name)]
    assert sorted(given) == list(range(21, 30))


def test_what_one_design_was_published_from_binds_no_other_design(home: Path) -> None:
    command(home, "list", "random", 5, "other")
    assert command(home, *BUILD, "other", "--design", "hash-upload")["epoch"] == 1
    said = command(home, *BUILD, "known", "--design", "hash-upload", "--yes", code=USAGE)
    assert "published from the list other" in said
    assert command(home, *BUILD, "known", "--design", "oprf-psi")["epoch"] == 2


def test_an_epoch_whose_number_is_given_is_followed_like_any_other(home: Path) -> None:
    command(home, "list", "random", 30, "other")
    assert command(home, *BUILD, "known", "--epoch", 7)["epoch"] == 7
    said = command(home, *BUILD, "other", "--epoch", 9, code=USAGE)
    assert "epoch 7 was published from the list known" in said


def test_an_update_from_a_list_that_the_epoch_is_not_of_names_the_one_it_is_of(home: Path, few: Path) -> None:
    command(home, "list", "import", few, "next", "--onto", "known")
    command(home, "list", "random", 20, "third")
    for more in ([], ["--instead-of", "known"]):
        said = command(home, *BUILD, "next", "--from", "third", *more, "--yes", code=USAGE)
        assert "published from the list known" in said
    assert command(home, *BUILD, "next", "--from", "known")["entries"] == 23


def test_a_damaged_copy_of_what_was_published_is_no_reason_to_publish_anything(home: Path) -> None:
    (kept,) = (home / "curator/sources").rglob("*.list")
    kept.write_bytes(kept.read_bytes()[:-1])
    command(home, "list", "random", 30, "other")
    command(home, *BUILD, "other", "--yes", code=BAD_STATE)
