"""The parts that checks for whole classes of cheats are made of, each on what it must and must not see."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Fact, Leak, Severity
from blindmatch_protocol.designs import hash_upload
from blindmatch_protocol.designs.hash_upload import HashUpload
from blindmatch_protocol.group import ORDER, sodium
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design, epochs
from blindmatch_simulations.evaluation.conformance.confined import digest
from blindmatch_simulations.evaluation.conformance.fixtures import (
    SMALL_FILES,
    Fixtures,
    as_published,
    lowered,
)
from blindmatch_simulations.evaluation.conformance.leakage import games, sessions
from blindmatch_simulations.evaluation.conformance.leakage.bindings import ABSENCE, ORDINARY
from blindmatch_simulations.evaluation.conformance.leakage.games import GameSetup
from blindmatch_simulations.evaluation.conformance.leakage.sessions import Sessions
from blindmatch_simulations.evaluation.conformance.leakage.spans import Hull
from blindmatch_simulations.evaluation.conformance.proofs import solved
from blindmatch_simulations.evaluation.conformance.repetition import held_bytes
from blindmatch_simulations.evaluation.conformance.spellings import pieces, silent, spelt
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, Result
from msgspec.structs import replace
from planted.mutations.hooks import PaddedPsi
from planted.mutations.requests import BYTES, NOTHING
from planted.mutations.watched import Reaches

SECRET = seeded("secret").take(32)


def _one(design: Any, check: str) -> Result:
    (result,) = check_design(design, Options(only=[check])).results
    return result


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET.hex()} does not take it",
        f"no element: {SECRET[3:14].hex().upper()}!",
        f"sealed by {b64encode(SECRET).decode()}",
        f"by-{b64encode(b'x' + SECRET[:16], altchars=b'-_').decode()}",
        f"scalar {int.from_bytes(SECRET, 'little')} of the group",
        f"scalar {int.from_bytes(SECRET, 'big')}",
        f"raw {SECRET.decode('latin-1')}",
    ],
)
def test_a_secret_is_found_however_a_text_spells_it(text: str) -> None:
    with pytest.raises(BrokenError, match="an error text has a secret in it"):
        silent([text], frozenset(pieces(SECRET)), "answer")


def test_usual_texts_spell_no_secret() -> None:
    texts = ["field blinded: row 3 is not canonical", "epoch 12345678901234567890 is in force", "0" * 64]
    assert silent(texts, frozenset(pieces(SECRET)), "answer") == 3
    assert {how for how, _ in spelt(texts[1])} == {"raw", "in base64", "as a number", "in hexadecimal"}


def test_a_text_of_more_digits_than_python_takes_for_a_number_is_looked_through() -> None:
    assert silent(["7" * 5000], frozenset(pieces(SECRET)), "answer") == 1


def test_sums_of_bits_that_never_change_are_what_a_hull_keeps() -> None:
    hull = Hull()
    pairs = [(word, word ^ 0b1010) for word in range(16)]
    assert [hull.add(high << 4 | low) for high, low in pairs].count(True) == 5
    assert hull.holds(0b0001 << 4 | 0b1011)
    assert not hull.holds(0b0001 << 4 | 0b1010)


def _proof(nonce: int, challenge: int, key: int, sign: int) -> tuple[int, int]:
    return challenge, (nonce - sign * challenge * key) % ORDER


@pytest.mark.parametrize("sign", [1, -1])
def test_a_key_follows_from_two_proofs_of_one_nonce_and_from_no_others(sign: int) -> None:
    key, nonce, other = (int.from_bytes(seeded(name).take(31), "big") for name in ("k", "r", "r'"))
    public = frozenset({sodium.multiply_base(key.to_bytes(32, "little"))})
    first = _proof(nonce, 1234567, key, sign)
    assert solved([first, _proof(other, 99, key, sign), _proof(nonce, 7654321, key, sign)], public)
    assert not solved([first, _proof(other, 7654321, key, sign), first], public)
    assert not solved([first, _proof(nonce, 7654321, key + 1, sign)], public)


def test_what_an_object_keeps_is_weighed_with_all_that_hangs_on_it() -> None:
    class Keeps:
        shared: ClassVar[list[bytes]] = []

    one = Keeps()
    before = held_bytes([one, vars(Keeps)])
    one.shared.append(bytes(1000))
    assert held_bytes([one, vars(Keeps)]) >= before + 1000


class Recalls(HashUpload):
    """States how much it finds 30 bits away, and finds nothing there."""

    info = replace(HashUpload.info, name="recalls")
    recall: ClassVar = {30: 0.99}

    def answer(self, role: Any, state: Any, requests: Any, rng: Any, executor: Any) -> Any:
        exact = replace(state, hashes=state.hashes)
        answer = super().answer(role, exact, requests, rng, executor)
        missed = [
            verdict is not None
            and verdict.label is not None
            and verdict.label.entry_hash != request.body.hash
            for verdict, request in zip(answer.verdicts, requests, strict=True)
        ]
        empty = super().answer(role, replace(state, hashes=~state.hashes), requests, rng, executor)
        pick = [empty if miss else answer for miss in missed]
        return replace(
            answer,
            replies=[one.replies[at] for at, one in enumerate(pick)],
            verdicts=[one.verdicts[at] for at, one in enumerate(pick)],
        )


def test_recall_that_is_stated_is_held_against_exact_limits() -> None:
    class Right(HashUpload):
        recall: ClassVar = {30: 0.99}

    right = _one(Right(), "entries")
    assert right.verdict is Verdict.PASSED
    assert right.figures["recall_30"] == [1.0, 0.9463, 1.0]
    wrong = _one(Recalls(), "entries")
    assert (wrong.step, wrong.verdict) == ("recall", Verdict.FAILED)


class Saying(HashUpload):
    """Declares facts as they stand in the request, in other types."""

    info = replace(HashUpload.info, name="saying")

    def leakage(self) -> tuple[Leak, ...]:
        facts = (
            Fact("query_time", "when", Severity.HASH, lambda item, _: True),
            Fact("my.hex", "the hash as text", Severity.HASH, lambda item, _: item.hash.hex()),
            Fact(
                "my.number",
                "the hash as a number",
                Severity.HASH,
                lambda item, _: int.from_bytes(item.hash, "big"),
            ),
            Fact(
                "my.part",
                "part, of good ones",
                Severity.HASH,
                lambda item, _: item.hash[3:9] if item.quality > 49 else None,
            ),
            Fact("my.both", "hash and quality", Severity.HASH, lambda item, _: (item.hash, item.quality)),
            Fact(
                "my.lone",
                "of no picture here",
                Severity.HASH,
                lambda item, _: 5 if item.quality < 0 else None,
            ),
        )
        return tuple(replace(leak, facts=facts) for leak in super().leakage()[:1])


def test_a_literal_field_is_recovered_in_whatever_type_a_fact_gives_it() -> None:
    result = _one(Saying(), "tightness")
    assert result.figures["over_declared"] == []
    assert {name.partition(": ")[2] for name in result.figures["recovered_by"]} == {
        "query_time", "my.hex", "my.number", "my.part", "my.both",
    }  # fmt: skip
    assert result.figures["not_measured"] == {"matcher: my.lone": 0}
    assert "my.lone not measured (0 pictures)" in result.reason


def test_where_no_two_pictures_agree_on_the_facts_nothing_is_compared_and_that_is_said() -> None:
    class Everything(HashUpload):
        info = replace(HashUpload.info, name="everything")

        def leakage(self) -> tuple[Leak, ...]:
            pixels = Fact("my.pixels", "all", Severity.HASH, lambda item, _: item.pixels.tobytes())
            return tuple(replace(leak, facts=(*leak.facts, pixels)) for leak in super().leakage())

    result = _one(Everything(), "relations")
    assert result.verdict is Verdict.NOT_COMPARABLE
    assert "(0 pairs)" in result.reason
    assert _one(hash_upload.DESIGN, "relations").figures["pairs"] > 7  # with forged ones


def test_coalitions_look_at_the_same_session_which_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept by picture, not by its name, which forged ones share; what does not fit is run again, and has the
    same bytes."""
    fixtures = Fixtures(load_design("carried-oprf-psi"))
    setting = as_published(fixtures)
    listed = fixtures.pool.of("listed")[0]
    namesake = replace(fixtures.pool.of("other")[0], name=listed.name)
    held = Sessions(fixtures, setting, None)
    first = held.whole(listed, ORDINARY, 0)
    assert held.whole(listed, ORDINARY, 0) is first
    assert held.whole(listed, ORDINARY, 1).bodies != first.bodies
    assert held.whole(listed, ABSENCE, 0) is not first
    assert held.whole(namesake, ORDINARY, 0).bodies != first.bodies
    again = Sessions(fixtures, setting, None).whole(listed, ORDINARY, 0)
    assert (again.bodies, again.replies) == (first.bodies, first.replies)

    monkeypatch.setattr(sessions, "MOST_KEPT", 0)
    unkept = Sessions(fixtures, setting, None)
    one, other = (unkept.whole(listed, ORDINARY, 0) for _ in range(2))
    assert one is not other and one.bodies == other.bodies == first.bodies


class Shelf:
    """Where something may be kept."""

    shared: ClassVar[dict[str, bytes]] = {}

    def __init__(self) -> None:
        self.last = b""
        self.queue = deque[bytes](maxlen=1)

    @lru_cache(maxsize=4)  # noqa: B019
    def cached(self, value: bytes) -> bytes:
        return value


def closed() -> Callable[[bytes], None]:
    held = b""

    def keep(value: bytes) -> None:
        nonlocal held
        held = value

    return keep


def in_default(value: bytes, kept: list[bytes] = [b""]) -> None:  # noqa: B006
    kept[0] = value


WAYS: dict[str, tuple[Any, Callable[[Any], None]]] = {
    "attribute": (Shelf(), lambda shelf: setattr(shelf, "last", SECRET)),
    "queue": (Shelf(), lambda shelf: shelf.queue.append(SECRET)),
    "cache": (Shelf, lambda kind: kind.cached(None, SECRET)),
    "class": (Shelf, lambda kind: kind.shared.update(last=SECRET)),
    "closure": (closed(), lambda keep: keep(SECRET)),
    "default": (in_default, lambda keep: keep(SECRET)),
    "array": ([np.zeros(32, np.uint8)], lambda held: held[0].__setitem__(slice(None), 7)),
}


@pytest.mark.parametrize("way", WAYS)
def test_state_shows_wherever_a_module_keeps_it(way: str) -> None:
    holder, keep = WAYS[way]
    before = digest(holder, frozenset([__name__]))
    assert digest(holder, frozenset([__name__])) == before
    keep(holder)
    assert digest(holder, frozenset([__name__])) != before


class FirstRetry(PaddedPsi):
    """The first time that a request leaves again, alike, it bears the hash; later ones do not."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}

    def padding(self, about: Any, rng: Any) -> bytes:
        self.seen[about.sent] = self.seen.get(about.sent, 0) + 1
        return about.item.hash[:BYTES] if self.seen[about.sent] == 2 else NOTHING


def test_a_request_is_held_against_the_first_that_left() -> None:
    failed = _one(FirstRetry(), "repetition")
    assert failed.verdict is Verdict.FAILED and "something else the 2th time" in failed.reason


def test_each_way_out_of_a_step_is_noted() -> None:
    reached = {"open", "sys._getframe", "object.__getattr__", "a thread", "output", "atexit"}
    assert reached <= set(_one(Reaches(), "surroundings").rule.partition(": ")[2].split(", "))


def test_windows_of_files_are_keys_if_they_look_drawn() -> None:
    drawn = np.random.default_rng(5).integers(0, 256, 300, np.uint8).tobytes()
    text = b"a rule in plain words"
    few = bytes(range(11)) * 4
    part = drawn + text + bytes(20) + few + drawn[:40]
    windows = {part[at : at + 16] for at in range(len(part) - 15)}
    plain = {one for one in windows if all(byte == 0 or 32 <= byte < 127 for byte in one)}
    wanted = {one for one in windows - plain if len(set(one)) >= 12}
    assert set(epochs._key_like(part)) == wanted
    assert wanted and plain and not list(epochs._key_like(few)) and not list(epochs._key_like(drawn[:15]))


def test_large_files_lower_parameters_too() -> None:
    fixtures = Fixtures(load_design("prefix-bucket"))
    small = as_published(fixtures).deployed.build
    assert 1 <= lowered(fixtures)["bits"] < 10
    assert sum(map(len, small.files.values())) <= SMALL_FILES < sum(map(len, fixtures.build.files.values()))


def test_opponents_for_whom_the_same_pairs_agree_share_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, int]] = []
    play = games.play_class

    def noted(fixtures: Fixtures, game: GameSetup, one: games.Class, classes: int) -> Any:
        played.append((one.name, len(one.pairs)))
        return play(fixtures, game, one, classes)

    monkeypatch.setattr(games, "play_class", noted)
    fixtures = Fixtures(load_design("split-psi"), runs=(4, 4))
    figures = games.check_semi_honest(fixtures).figures
    fixtures.close()
    assert len(played) == len(set(played))
    assert sum(one["classes"] for one in figures.values() if "classes" in one) > 2 * len(played)
