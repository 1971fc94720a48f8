"""Servers that hold one key share its budget: what is packed, noted, refused and enforced."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.matching.ledger import Budget, MatcherStore
from blindmatch_server.matching.service import MatchingConfig
from blindmatch_server.storage.errors import QuotaError
from blindmatch_simulations.testbed.deployment import hosting, processes, shares
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.shares import limits_of
from support.command import USAGE, Ran, in_process, refused

from .test_by_hand import done
from .test_machines import server

DESIGN = ("--design", "token-psi")
SET = [word for one in ("k=8", "bands=2", "probes=16") for word in ("--set", one)]
COST = 32
"""Evaluations of a request: two bands of sixteen probes."""
ACCOUNT = 6 * COST - 1
"""Halves and thirds that were rounded up would each hold one request more, and all together one too many."""
EVERYONE = 12 * COST - 1
LIMITS = [
    *("--set", f"account_evaluations={ACCOUNT}"),
    *("--set", f"all_evaluations={EVERYONE}"),
    *("--set", "key_expires=0"),
]


def _made(home: Path, design: str, *options: str) -> Path:
    done(in_process(home, "certs", "init"))
    done(in_process(home, "list", "random", 5, "known"))
    done(in_process(home, "list", "build", "known", "--design", design, *options))
    return home


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made(tmp_path_factory.mktemp("limited") / "home", "token-psi", *SET, *LIMITS)


@pytest.fixture
def curator(limited: Path, tmp_path: Path) -> Path:
    """A deployment with an epoch of token-psi whose key is limited, and nothing packed."""
    shutil.copytree(limited, tmp_path / "curator")
    return tmp_path / "curator"


def pack(curator: Path, name: str, *options: object, kind: str = "matcher") -> Ran:
    return in_process(curator, "certs", "pack", kind, curator.with_name(name), *DESIGN, *options)


def misused(ran: Ran) -> str:
    """Return what a command said that was given a wrong option, without the frame around it."""
    assert ran.code == USAGE
    return " ".join(ran.err.replace("│", " ").split())


def config(home: Path, design: str = "token-psi", party: Party = Party.MATCHER) -> MatchingConfig:
    """What `blindmatch serve` would host from `home`."""
    made: Any = hosting.services_of(Deployment.open(home), party, load_design(design))
    (found,) = made.args
    assert isinstance(found, MatchingConfig)
    return found


async def _asked(path: Path, limits: Any, parts: int, accounts: int) -> list[int]:
    store = MatcherStore(path)
    granted = [0] * accounts
    budget = Budget(store, lambda: 0.0, EventLog("matcher", lambda line: None), parts)
    for account in range(accounts):
        for _ in range(15):
            with suppress(QuotaError):
                await budget.check(f"mallory-{account}", limits)
                await budget.spend(f"mallory-{account}", limits)
                granted[account] += limits.cost
    await store.close()
    return granted


def granted(homes: list[Path], accounts: int, design: str, party: Party) -> list[int]:
    """Evaluations that the servers of these folders grant each account, all together."""
    every = []
    for home in homes:
        ((_, limits),) = limits_of(Deployment.open(home), load_design(design), party)
        parts = config(home, design, party).parts
        every.append(asyncio.run(_asked(home / "ledger.sqlite", limits, parts, accounts)))
    return [sum(each) for each in zip(*every, strict=True)]


@pytest.mark.parametrize("parts", [2, 3])
def test_matchers_with_one_key_grant_one_budget_together(curator: Path, parts: int) -> None:
    homes = [curator.with_name(f"matcher-{number}") for number in range(parts)]
    for home in homes:
        done(pack(curator, home.name, "--share", f"1/{parts}"))
    alone = granted(homes, 1, "token-psi", Party.MATCHER)
    assert alone == [parts * (ACCOUNT // parts // COST * COST)] and 0 < alone[0] <= ACCOUNT
    for home in homes:
        (home / "ledger.sqlite").unlink()
    pooled = sum(granted(homes, 8, "token-psi", Party.MATCHER))
    assert pooled == parts * (EVERYONE // parts // COST * COST) and 0 < pooled <= EVERYONE


def test_a_party_with_a_share_of_a_split_key_divides_its_limits_too(tmp_path: Path) -> None:
    curator = _made(tmp_path / "curator", "split-token-psi", *SET, *LIMITS)
    for name in ("party_a", "party_b"):
        homes = [tmp_path / f"{name}-{number}" for number in range(2)]
        for home in homes:
            options = ("--design", "split-token-psi", "--share", "1/2")
            done(in_process(curator, "certs", "pack", name, home, *options))
        found = granted(homes, 1, "split-token-psi", Party.of_server(name))
        assert found == [2 * (ACCOUNT // 2 // COST * COST)]


def test_a_second_folder_of_a_server_is_refused_and_told_what_to_do(curator: Path) -> None:
    said = done(pack(curator, "first")).out
    assert "number 1: it has the whole of the limits of its keys" in said
    first = str(curator.with_name("first"))
    second = pack(curator, "second")
    refused(second, 4, "--share", "number 1, the whole", first, "--share 1/N from the first on", "--replaces")
    refused(pack(curator, "second", "--share", "1/2"), 4, "1/2 is more than what is left", "none is left")
    assert not curator.with_name("second").exists()


def test_shares_add_up_to_the_whole_at_most(curator: Path) -> None:
    for name in ("a", "b", "c"):
        done(pack(curator, name, "--share", "1/3"))
    refused(pack(curator, "d", "--share", "1/3"), 4, "in use: number 1, 1/3")
    refused(pack(curator, "d", "--share", "1/11"), 4, "1/11 is more than what is left")
    done(pack(curator, "d", "--replaces", 2))
    assert json.loads((curator.with_name("d") / "matcher/share.json").read_text())["parts"] == 3
    refused(pack(curator, "e", "--share", "1/3"), 4, "number 4, 1/3")


def test_shares_of_several_sizes_may_be_mixed(curator: Path) -> None:
    done(pack(curator, "a", "--share", "1/2"))
    refused(pack(curator, "b"), 4, "the whole is more than what is left", "limits, 1/2", "N of at least 2")
    done(pack(curator, "b", "--share", "1/3"))
    refused(pack(curator, "c", "--share", "1/5"), 4, "limits, 1/6", "N of at least 6")


def test_a_lost_folder_is_replaced_deliberately(curator: Path) -> None:
    done(pack(curator, "first"))
    unknown = pack(curator, "half", "--replaces", 2)
    refused(unknown, 4, "--replaces 2: the matcher of token-psi has no such", "number 1, the whole")
    said = " ".join(done(pack(curator, "half", "--replaces", 1, "--share", "1/2")).out.split())
    assert "number 1 must never be served from again" in said and "copy its matcher/state" in said
    refused(pack(curator, "other", "--replaces", 1, "--share", "1/2"), 4, "in use: number 2, 1/2")
    done(pack(curator, "other", "--share", "1/2"))
    done(pack(curator, "whole", "--replaces", 2, "--replaces", 3))
    assert config(curator.with_name("whole")).parts == 1


def test_counts_that_are_copied_into_each_half_of_a_split_whole_go_on_counting(curator: Path) -> None:
    whole = curator.with_name("whole")
    done(pack(curator, "whole"))
    before = granted([whole], 1, "token-psi", Party.MATCHER)
    halves = [curator.with_name(name) for name in ("first", "second")]
    done(pack(curator, "first", "--share", "1/2", "--replaces", 1))
    done(pack(curator, "second", "--share", "1/2"))
    for half in halves:
        shutil.copy(whole / "ledger.sqlite", half / "ledger.sqlite")
    after = granted(halves, 1, "token-psi", Party.MATCHER)
    assert (before, after) == ([ACCOUNT // COST * COST], [0])


@pytest.mark.parametrize(
    "share",
    ["0", "2/1", "1/0", "half", "1/1000000", "1/1001", "0.5", "-1/2", "1/-2", "2/3", "1/02", "1/²", ""],
)
def test_what_is_no_share_is_refused_by_name(curator: Path, share: str) -> None:
    said = misused(pack(curator, "first", f"--share={share}"))
    assert f"share {share!r}: must be 1/N with N from 1 to 1000" in said
    assert not curator.with_name("first").exists()


def test_a_share_into_which_no_request_fits_is_refused(curator: Path) -> None:
    refused(pack(curator, "first", "--share", "1/6"), 4, "1/6 of the 191 evaluations", "larger --share")
    assert not curator.with_name("first").exists()
    done(pack(curator, "first", "--share", "1/5"))


def test_a_folder_that_a_later_epoch_leaves_no_request_is_told_by_doctor(curator: Path) -> None:
    home = curator.with_name("first")
    done(pack(curator, "first", "--share", "1/5"))
    row = _budget_row(home)
    assert (row["status"], row["what"]) == ("ok", "number 1: 1/5 of its keys' limits, rounded down")
    assert "number 1, 1/5" in _budget_row(curator)["what"]
    smaller = [one.replace(str(ACCOUNT), str(5 * COST - 1)) for one in LIMITS]
    done(in_process(curator, "list", "build", "known", *DESIGN, *SET, *smaller))
    published = Path("curator/published")
    shutil.copytree(curator / published, home / published, dirs_exist_ok=True)
    for folder in (home, curator):
        row = _budget_row(folder)
        assert row["status"] == "wrong" and "every request is refused: 1/5 of the 159" in row["what"]
        assert "--share 1/N --replaces" in row["remedy"]


def _budget_row(home: Path) -> dict[str, str]:
    rows = in_process(home, "doctor", *DESIGN, "--json", "-").json
    (row,) = [one for one in rows if one["check"] == "budget of the matcher"]
    return dict(row)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"version":1,"server":"matcher","design":"token-psi","number":1,"parts":0}', "$.parts"),
        ('{"version":1,"server":"matcher","design":"token-psi","number":1,"parts":0.5}', "$.parts"),
        ('{"version":2,"server":"matcher","design":"token-psi","number":1,"parts":1}', "$.version"),
        ('{"version":1,"server":"matcher","design":"token-psi","number":1,"parts":1,"x":1}', "unknown field"),
        ('{"version":1,"server":"party_a","design":"token-psi","number":1,"parts":1}', "of party_a"),
        ('{"version":1,"server":"matcher","design":"oprf-psi","number":1,"parts":1}', "of oprf-psi"),
    ],
)
def test_a_server_without_a_valid_share_does_not_start(curator: Path, content: str | None, said: str) -> None:
    home = curator.with_name("first")
    done(pack(curator, "first", "--share", "1/2"))
    path = home / "matcher/share.json"
    path.unlink() if content is None else path.write_text(content)
    refused(in_process(home, "serve", "matcher", "--port", 0, *DESIGN), 4, "share.json", said, "pack again")
    assert _budget_row(home)["status"] == "wrong"


def test_a_damaged_note_of_what_was_packed_is_refused_and_not_taken_for_none(curator: Path) -> None:
    done(pack(curator, "first"))
    (curator / "authority/packed.json").write_text("{")
    refused(pack(curator, "second"), 4, "packed.json", "bring it back from a backup")
    assert _budget_row(curator)["status"] == "wrong"


def test_a_note_with_one_number_twice_is_refused(curator: Path) -> None:
    for name in ("first", "second"):
        done(pack(curator, name, "--share", "1/2"))
    path = curator / "authority/packed.json"
    path.write_text(path.read_text().replace('"number": 2', '"number": 1'))
    refused(pack(curator, "third", "--share", "1/2"), 4, "packed.json", "a number is given twice")


def test_the_authority_s_own_server_is_no_second_one(curator: Path) -> None:
    done(pack(curator, "first", "--share", "1/2"))
    ran = in_process(curator, "serve", "matcher", "--port", 0, *DESIGN)
    refused(ran, 4, "matcher of token-psi was packed (number 1, 1/2", "--replaces NUMBER")
    assert "number 1, 1/2" in _budget_row(curator)["what"]


def test_where_the_authority_s_own_server_has_served_it_has_the_whole(curator: Path) -> None:
    ledger = curator / "matcher/state/matching/ledger.sqlite"
    ledger.parent.mkdir(parents=True)
    asyncio.run(MatcherStore(ledger).close())
    assert config(curator).parts == 1
    refused(pack(curator, "first", "--share", "1/2"), 4, "number 0, the whole, this folder's own server")
    done(pack(curator, "first", "--share", "1/2", "--replaces", 0))
    done(pack(curator, "second", "--share", "1/2"))
    with pytest.raises(DeploymentError, match="was packed"):
        config(curator)


def test_a_pack_waits_for_the_authority_s_own_server_to_be_stopped(
    curator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "HOLD_SECONDS", 0)
    with processes.alone(Deployment.open(curator), Party.MATCHER):
        refused(pack(curator, "first"), 4, "runs already; stop it first")
    done(pack(curator, "first"))


def test_a_packed_folder_cannot_be_packed_from(curator: Path) -> None:
    done(pack(curator, "first"))
    again = in_process(
        curator.with_name("first"), "certs", "pack", "matcher", curator.with_name("b"), *DESIGN
    )
    refused(again, 4, "where the authority is")


def test_a_pack_that_fails_gives_its_share_back(curator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hosting.shutil, "copy2", full)
        refused(pack(curator, "first"), 4, "No space left")
    assert not curator.with_name("first").exists()
    done(pack(curator, "first"))


def test_a_pack_that_is_killed_keeps_its_share_and_leaves_nothing_to_serve(
    curator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(path: Path, *_: object) -> None:
        if path.name == shares.SHARE:
            raise Killed
        replace_file(path, *_)

    replace_file: Any = hosting.replace_file
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(hosting, "replace_file", killed)
        hosting.pack_server(
            Deployment.open(curator), Party.MATCHER, load_design("token-psi"), curator.with_name("first")
        )
    with pytest.raises(DeploymentError, match=r"share\.json"):
        config(curator.with_name("first"))
    refused(pack(curator, "second"), 4, "number 1, the whole")


def test_other_machines_are_packed_as_often_as_one_likes_and_take_no_share(curator: Path) -> None:
    for number in range(2):
        for kind in ("relay", "centre"):
            done(pack(curator, f"{kind}-{number}", kind=kind))
        done(pack(curator, f"device-{number}", "--name", "alice", kind="device"))
    assert not (curator / "authority/packed.json").exists()
    refused(
        pack(curator, "x", "--share", "1/2", kind="relay"), 4, "--share: the relay of token-psi takes none"
    )
    nobody = pack(curator, "x", "--share", "1/2", "--name", "alice", kind="device")
    assert "--share and --replaces are of a server" in misused(nobody)


def test_a_packed_server_says_its_share_in_its_log(curator: Path) -> None:
    home = curator.with_name("first")
    done(pack(curator, "first", "--share", "1/2"))
    log = home / "events.jsonl"
    with server("matcher", home, "--design", "token-psi", "--log", str(log)):
        pass
    told = [one for one in map(json.loads, log.read_text().splitlines()) if one["event"] == "budget-share"]
    assert [one["share"] for one in told] == ["1/2"]


def test_packs_of_two_parties_at_once_lose_neither_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curator = _made(tmp_path / "curator", "split-token-psi", *SET, *LIMITS)
    options = ("--design", "split-token-psi")
    write_packs = hosting.write_packs
    others = list[Ran]()

    def write_amid(deployment: Deployment, packs: shares.Packs) -> None:
        if not others:
            others.append(in_process(curator, "certs", "pack", "party_b", tmp_path / "b", *options))
        write_packs(deployment, packs)

    monkeypatch.setattr(shares, "HOLD_SECONDS", 0)
    monkeypatch.setattr(hosting, "write_packs", write_amid)
    done(in_process(curator, "certs", "pack", "party_a", tmp_path / "a", *options))
    noted = {one.server for one in shares.read_packs(Deployment.open(curator)).packs}
    packed = {f"party_{name}" for name in "ab" if (tmp_path / name).exists()}
    assert noted == packed
    refused(others[0], 4, "another certs pack", "try again when it has")


def test_a_replaced_folder_cannot_be_replaced_again_nor_packed_into(curator: Path) -> None:
    done(pack(curator, "a", "--share", "1/2"))
    done(pack(curator, "b", "--share", "1/3"))
    before = (curator / "authority/packed.json").read_bytes()
    refused(pack(curator, "a", "--replaces", 1), 4, str(curator.with_name("a")))
    assert (curator / "authority/packed.json").read_bytes() == before, "a refused pack frees nothing"
    done(pack(curator, "c", "--replaces", 1, "--replaces", 1))
    refused(pack(curator, "d", "--replaces", 1), 4, "--replaces 1", "number 3, 1/2")
    refused(pack(curator, "d", "--replaces", 0), 4, "--replaces 0", "number 3, 1/2")


def test_a_replaced_folder_s_counts_hold_under_a_smaller_share(curator: Path) -> None:
    first, second = (curator.with_name(name) for name in ("first", "second"))
    done(pack(curator, "first", "--share", "1/2"))
    spent = granted([first], 1, "token-psi", Party.MATCHER)
    done(pack(curator, "second", "--share", "1/3", "--replaces", 1))
    shutil.copy(first / "ledger.sqlite", second / "ledger.sqlite")
    assert spent[0] > 0 and granted([second], 1, "token-psi", Party.MATCHER) == [0]
