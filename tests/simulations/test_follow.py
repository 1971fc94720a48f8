"""The page that follows a picture says what recordings hold, keeps secrets, and runs nothing of theirs."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blindmatch_simulations.evaluation.attacks.followed import record
from blindmatch_simulations.report import follow
from blindmatch_simulations.report.follow import Followed, FollowError, followed
from blindmatch_simulations.report.page import asset, follow_page
from blindmatch_simulations.testbed.scenario.recording import Recording, Request, read_recording
from msgspec import Struct, to_builtins
from msgspec.structs import replace
from py_mini_racer import MiniRacer
from support.command import in_process
from support.drawn import engine
from support.pages import every_design

INNOCENT = "not listed"
EDITED = "edited copy of a listed one"
LISTED = "listed"
ORDER = (INNOCENT, EDITED, LISTED)


class Run(Struct, frozen=True):
    """A recording, where its deployment is, and what the page is told."""

    path: Path
    home: Path
    recording: Recording
    told: Followed


@cache
def _engine() -> MiniRacer:
    return engine(asset("core.js") + asset("follow.js"))


def call(expression: str, *arguments: object) -> Any:
    return json.loads(_engine().eval(f"JSON.stringify(({expression})(...{json.dumps(arguments)}))"))


SHOWN = """(runs, what, at, parties, picture) => {
  const view = {...follow.opening(runs), at, parties};
  view.picture = runs[0].scenes.find((one) => one.what === what).ident;
  const drawn = follow.draw(runs, view);
  const entity = (_, code) => String.fromCharCode(code);
  const plain = (text) => text.replace(/<[^>]*>/g, " ").replace(/&#(\\d+);/g, entity);
  const words = (html) => plain(markup(html)).replace(/\\s+/g, " ").replace(/ ([:;,.)])/g, "$1");
  return {stages: words(drawn.stages), pane: words(drawn.panes), foot: words(drawn.foot),
          html: Object.values(drawn).map(markup).join("")};
}"""


def shown(
    *runs: Followed, what: str = INNOCENT, at: int = 99, parties: Sequence[str] = ("provider",)
) -> Mapping[str, str]:
    """The page's words at a step, with the panes of some parties."""
    found: Mapping[str, str] = call(SHOWN, to_builtins(runs), what, at, list(parties))
    return found


def of_picture(pane: str) -> str:
    """What a pane says of the picture, and not of what was before it or is only declared."""
    pane = re.sub("The design declares, and .*?(?=Its hash:|Of this picture|Beside it|The bytes)", "", pane)
    return re.split("Beside it|Declared, and not seen|The bytes as", pane)[0]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("follow")

    @cache
    def make(design: str, attack: str = "nobody") -> Run:
        path = folder / f"{design}-{attack}.jsonl"
        home = folder / f"{design}-{attack}"
        record(path, design, attack, home=home)
        recording = read_recording(path)
        return Run(path, home, recording, followed(recording))

    return make


@pytest.fixture(scope="module")
def exact(recorded: Any) -> Run:
    made: Run = recorded("oprf-psi")
    return made


def _secrets(run: Run) -> Iterator[tuple[str, bytes]]:
    """Keys of every party, and all that the devices' recordings hold and did not send."""
    for path in [*run.home.rglob("*.key"), *run.home.rglob("matcher.bin")]:
        data = path.read_bytes()
        if data.startswith(b"-----BEGIN"):
            data = b64decode(b"".join(data.splitlines()[1:-1]))[:70]
        elif re.fullmatch(rb"[0-9a-f]{64}\n", data):
            data = bytes.fromhex(data.decode())
        yield path.name, data
    sent = b"\0".join(one.body for one in run.recording.lines if isinstance(one, Request))
    for name, held in run.recording.devices.items():
        parts = [*held.drawn, *(one.tape for one in held.sessions), *(one.tape for one in held.enrolments)]
        parts += [one.state_before for one in (*held.sessions, *held.enrolments)]
        for message in held.messages:
            parts += [message.attachment.key] if message.attachment else []
            parts += re.findall(rb"(?s).{16,}", message.content.encode()) if message.content else []
        yield from ((f"{name}'s", one) for one in parts if one not in sent)
        # a small copy is shown, and has the same tables as any JPEG
        yield from (("a picture", one[len(one) // 2 :][:64]) for one in held.files.values())


def _all_bytes(text: str) -> bytes:
    """The text, and what is written in it in hexadecimal or base64."""
    hexes = [bytes.fromhex(one) for one in re.findall(r"(?:[0-9a-f]{2}){8,}", text)]
    return b"\0".join((text.encode(), *hexes, *map(b64decode, re.findall(r"base64,([A-Za-z0-9+/=]+)", text))))


def _leaked(run: Run, told: Followed) -> tuple[set[str], int]:
    """Names of secrets of which 16 bytes stand in the export or on the page, and how many were looked for."""
    export = msgspec.json.encode(told).decode()
    page = follow_page([told])
    blob = _all_bytes(export) + _all_bytes(page)
    found = set[str]()
    count = 0
    for name, secret in _secrets(run):
        if len(set(secret)) < 8:
            continue  # an empty state, a flag
        count += 1
        written = (secret.hex()[:32], b64encode(secret).decode()[:20])
        if any(secret[at : at + 16] in blob for at in range(0, max(1, len(secret) - 15), 8)):
            found.add(name)
        if any(one in export or one in page for one in written):
            found.add(name)
    return found, count


def test_neither_export_nor_page_holds_a_secret_of_the_run(exact: Run, recorded: Any) -> None:
    for run in (exact, recorded("provider-scan")):
        found, count = _leaked(run, run.told)
        assert found == set() and count > 20
    tape = exact.recording.devices["alice"].sessions[0].tape
    key = next(exact.home.rglob("matcher.key")).read_bytes()
    for planted in (tape.hex(), b64encode(tape).decode(), b64encode(b64decode(key.splitlines()[1])).decode()):
        assert _leaked(exact, replace(exact.told, summary=planted))[0], "it would be found"
    for name, secret in _secrets(exact):
        if name == "alice's" and len(set(secret)) >= 8:
            assert b64encode(secret) in exact.path.read_bytes(), "the recording holds it"
            break


def test_a_party_that_gets_nothing_keeps_an_empty_pane_that_says_so(exact: Run) -> None:
    pane = shown(exact.told, parties=["curator"])["pane"]
    assert "the curator has now Nothing. In this recording nothing has reached the curator" in pane
    centre = shown(exact.told, parties=["centre"])["pane"]
    assert "Nothing of this picture." in centre and "report" not in of_picture(centre)
    assert "curator: nothing of it" in shown(exact.told)["html"]


def test_observed_facts_are_filled_and_declared_unseen_ones_grey(exact: Run) -> None:
    early, late = (shown(exact.told, at=at)["html"] for at in (0, 99))
    assert 'class="seen"' in late and 'class="unseen"' in late
    says = "how many attachments are uploaded before a message"
    assert f'<li class="unseen">{says}' in early and f'<li class="seen">{says}: <b>1</b>' in late
    matcher = shown(exact.told, parties=["matcher"])["pane"]
    assert "that, and when, an account sent a picture" in of_picture(matcher)
    assert "whether any hash it can think of is listed" in matcher.partition("Declared, and not seen")[2]


def test_the_state_is_reduced_by_a_pure_function_and_a_step_back_is_the_state_before(exact: Run) -> None:
    run = to_builtins(exact.told)
    length = exact.told.scenes[2].end - exact.told.scenes[2].first
    pure = """(run) => {
      const scene = run.scenes[2], freeze = (one) => {
        Object.values(one || {}).forEach((part) => typeof part === "object" && freeze(part));
        return Object.freeze(one);
      };
      const events = freeze(follow.eventsOf(run, scene, 99)), states = [follow.EMPTY];
      for (const one of events) states.push(freeze(follow.step(states.at(-1), one)));
      const before = events.filter((one) => one.before).length;
      const again = events.slice(before).map((_, at) => follow.stateOf(run, scene, at));
      return {same: again.map((one, at) => JSON.stringify(one) === JSON.stringify(states[before + at])),
              last: states.at(-1).at};
    }"""
    found = call(pure, run)
    assert found == {"same": [True] * length, "last": length}


def test_two_designs_stand_side_by_side_on_the_same_picture(exact: Run, recorded: Any) -> None:
    clear = recorded("provider-scan").told
    page = shown(exact.told, clear)
    left, right = re.split("0a provider looks: the provider has now", page["pane"])
    assert "every picture itself: seen" in of_picture(right)
    assert "picture itself" not in of_picture(left) and "outcome" not in of_picture(left)
    assert [one.ident for one in exact.told.scenes] == [one.ident for one in clear.scenes]
    assert [one.what for one in exact.told.scenes] == list(ORDER)
    other = replace(clear, scenes=clear.scenes[1:])
    assert "does not have the chosen picture" in shown(exact.told, other)["stages"]


def test_marks_say_what_the_receiver_can_read_of_a_message_by_its_bytes(exact: Run, recorded: Any) -> None:
    def kinds(run: Run, what: int) -> list[tuple[str, str]]:
        scene = run.told.scenes[what]
        some = run.told.steps[scene.first : scene.end]
        return [(one.target, one.kind) for one in some if one.source == "alice" and one.kind]

    assert kinds(exact, 0) == [("matcher", "blinded"), ("provider", "ciphertext"), ("provider", "ciphertext")]
    assert kinds(exact, 2)[-1] == ("centre", "picture")
    assert kinds(recorded("hash-upload"), 0)[0] == ("matcher", "plain hash")
    assert ("provider", "picture") in kinds(recorded("provider-scan"), 0)
    assert {kind for _, kind in kinds(recorded("none"), 2)} == {"ciphertext"}


def test_a_coalition_has_the_union_of_its_panes(exact: Run) -> None:
    together = shown(exact.told, parties=["matcher", "provider"])["pane"]
    assert "the matcher and the provider have together now" in together
    union = """(run, parties) => {
      const scene = run.scenes[0], names = (some) => some.map((one) => one.name).sort();
      const {seen, unseen} = follow.union(run, follow.stateOf(run, scene, 99), parties);
      return [names(seen), names(unseen)];
    }"""
    run = to_builtins(exact.told)
    parts = [["matcher"], ["provider"], ["matcher", "provider"]]
    (matcher, _), (provider, _), (both, unseen) = (call(union, run, one) for one in parts)
    assert {*both} == {*matcher, *provider} and {"query_time", "recipient"} <= {*both}
    assert not {*both} & {*unseen}


def test_only_pictures_near_a_bundled_one_are_followed(exact: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = follow.bundled()
    monkeypatch.setattr(follow, "bundled", lambda: [one for one in hashes if one[:2] != b"\xd2\x78"])
    told = followed(exact.recording)
    assert [one.what for one in told.scenes] == [EDITED, LISTED]
    assert any("not near a bundled one" in one for one in told.left_out)
    assert "not near a bundled one" in shown(told, what=LISTED)["foot"]
    page = follow_page([told])
    item = exact.recording.events[8].item
    asked = [one.body for one in exact.recording.lines if isinstance(one, Request) and one.item == item]
    assert asked and not any(body[-64:-32].hex() in page for body in asked)
    monkeypatch.setattr(follow, "bundled", lambda: [bytes(32)])
    with pytest.raises(FollowError, match="no bundled picture"):
        followed(exact.recording)


def test_a_killed_run_is_followed_as_far_as_it_went_and_the_page_says_so(exact: Run, tmp_path: Path) -> None:
    lines = exact.path.read_bytes().splitlines(keepends=True)
    cut = next(at for at, one in enumerate(lines) if b'"number":9' in one)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][:50])
    told = followed(read_recording(tmp_path / "cut.jsonl"))
    assert [one.what for one in told.scenes] == [INNOCENT]
    assert "ended before its end" in shown(told)["foot"]
    assert "blinded" in {one.kind for one in told.steps}


def test_the_page_needs_nothing_else_and_runs_its_own_script_alone(exact: Run, recorded: Any) -> None:
    page = follow_page([exact.told, recorded("provider-scan").told])
    assert len(page.encode()) < 3_000_000
    assert "default-src 'none'" in page and "unsafe" not in page
    assert not re.findall(r"(?:src|href|action)=[\"']?(?!#|data:image/jpeg|\$\{|\[)[^\"'\s>]", page)
    assert not re.search(
        r"https?://|@import|url\(|fetch\(|XMLHttpRequest|eval\(", page.partition("<script type")[0]
    )
    assert " style=" not in page and not re.search(r"\son[a-z]+=", page)


BAD = "</script><script>window.tainted=1</script><img src=x onerror=window.tainted=1>javascript:x()\"'"


def test_marks_of_script_in_a_recording_are_words(exact: Run) -> None:
    def spoilt(value: Any) -> Any:
        match value:
            case str():
                return BAD
            case dict():
                return {key: spoilt(one) for key, one in value.items()}
            case list() | tuple():
                return [spoilt(one) for one in value]
        return value

    told: Any = to_builtins(exact.told)
    for row in told["declared"]:
        row["facts"] = [{**one, "says": BAD} for one in row["facts"]]
    for step in told["steps"]:
        step |= {"says": BAD, "notices": [[BAD, BAD]]}
        step["facts"] = {names: [[name, BAD] for name, _ in some] for names, some in step["facts"].items()}
    told |= {name: spoilt(told[name]) for name in ("design", "option", "summary", "made_at")}
    told |= {"left_out": [BAD], "attack": {"name": BAD, "holds": [BAD], "does": BAD}}
    for scene in told["scenes"]:
        scene["picture"] = BAD
    page = follow_page([msgspec.convert(told, Followed)])
    assert page.lower().count("<script") == 2 and page.count("</script") == 2 and "<img src=x" not in page
    html = call(SHOWN, [told], INNOCENT, 99, ["provider"])["html"]
    assert "&#60;/script&#62;" in html and "<script" not in html and "<img src=x" not in html
    named: Any = to_builtins(exact.told)
    named["parties"] = [[BAD, "device"], *named["parties"][1:]]
    named["scenes"] = [{**one, "sender": BAD} for one in named["scenes"]]
    html = call(SHOWN, [named], INNOCENT, 99, [BAD])["html"]
    assert "<script" not in html and "<img src=x" not in html and "&#60;/script" in html


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "provider", "device", "a+b", ""])
def test_a_page_is_drawn_whatever_a_recording_calls_an_account(name: str, exact: Run) -> None:
    text = msgspec.json.encode(exact.told).decode().replace('"alice"', json.dumps(name))
    told: Any = json.loads(text)
    for step in told["steps"]:
        step["facts"] = {names: [*some, [name, name]] for names, some in step["facts"].items()}
    for at in (0, 1, 99):
        html = call(SHOWN, [told], LISTED, at, [name, "matcher"])["html"]
        assert "have together" in html or "has" in html
    assert json.dumps(told)  # nothing of it was changed
    union = """(run, name) => {
      const {seen} = follow.union(run, follow.stateOf(run, run.scenes[2], 99), ["matcher"]);
      return seen.some((one) => one.name === name && one.values.includes(name));
    }"""
    assert call(union, told, name)


QUESTIONS = {
    "What does the provider know now of an innocent picture?": (
        "oprf-psi", INNOCENT, 99, ["provider"],
        ["to whom a message goes, and whose public keys are fetched: bob", "an attachment of"],
        ["outcome", "Its hash: got", "the perceptual hash", "a report leaves"],
    ),
    "And once a listed one was reported?": (
        "oprf-psi", LISTED, 99, ["provider"], ["when a report leaves", "a report leaves"], ["every picture"],
    ),
    "What does the matcher know of an innocent picture?": (
        "oprf-psi", INNOCENT, 99, ["matcher"],
        ["that, and when, an account sent a picture", "which account fetches the set-up and asks"],
        ["the perceptual hash of every picture", "to whom a message goes"],
    ),
    "What does the matcher know where hashes are uploaded?": (
        "hash-upload", INNOCENT, 99, ["matcher"], ["the perceptual hash of every picture: d278"], [],
    ),
    "Does the centre learn of an innocent picture?": (
        "oprf-psi", INNOCENT, 99, ["centre"], ["Nothing of this picture."], ["confirmed by a person"],
    ),
    "What does the centre get of a listed one?": (
        "oprf-psi", LISTED, 99, ["centre"], ["confirmed by a person or not: picture,"], ["Nothing"],
    ),
    "Does Alice's device learn whether her picture is listed?": (
        "oprf-psi", LISTED, 99, ["alice"], ["whether the picture is listed: match"], [],
    ),
    "And where the provider scans?": (
        "provider-scan", LISTED, 99, ["alice"], ["the picture itself: it is the sender's"], ["is listed:"],
    ),
    "What does the provider see where it scans?": (
        "provider-scan", INNOCENT, 99, ["provider"], ["every picture itself: seen"], [],
    ),
    "Does the provider that scans learn whether it is listed?": (
        "provider-scan", LISTED, 99, ["provider"],
        ["whether the picture is listed: it compares each one itself; match"], [],
    ),
    "Does an exact design find an edited copy?": (
        "oprf-psi", EDITED, 99, ["alice"], ["whether the picture is listed: no match"], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_answers_a_question_of_what_somebody_knows_now(question: str, recorded: Any) -> None:
    design, what, at, parties, answers, absent = QUESTIONS[question]
    pane = of_picture(shown(recorded(design).told, what=what, at=at, parties=parties)["pane"])
    assert [one for one in answers if one not in pane] == [], pane
    assert [one for one in absent if one in pane] == [], pane


NOTICED = {
    "modified-client": (LISTED, "In this recording nobody noticed anything.", "Noticed by"),
    "malicious-matcher": (INNOCENT, "Noticed by alice's device, at step", "nobody noticed"),
    "added-picture": (LISTED, "Noticed by a person at the centre, at step", "nobody noticed"),
    "pooled": (LISTED, "In this recording nobody noticed anything.", "Noticed by"),
    "split-view": (INNOCENT, "Noticed by bob's device, at step", "nobody noticed"),
}


@pytest.mark.parametrize("attack", NOTICED)
def test_an_attack_is_recorded_and_the_page_says_who_notices_and_with_what(
    attack: str, recorded: Any
) -> None:
    told = recorded("oprf-psi", attack).told
    what, says, never = NOTICED[attack]
    stages = shown(told, what=what)["stages"]
    assert f"The attack: {attack.replace('-', ' ')}" in stages and says in stages and never not in stages
    assert "In this recording nobody" not in shown(told, what=what, at=0)["stages"]


def test_what_each_attack_comes_to_is_what_was_recorded(recorded: Any) -> None:
    def after(attack: str, what: str, party: str) -> str:
        return of_picture(shown(recorded("oprf-psi", attack).told, what=what, parties=[party])["pane"])

    assert "confirmed by a person or not" not in after("modified-client", LISTED, "centre")
    assert "as it was sent" in after("modified-client", LISTED, "bob")
    assert "Nothing" in after("malicious-matcher", LISTED, "bob"), "it is held back"
    assert (
        "before this picture" in shown(recorded("oprf-psi", "malicious-matcher").told, what=LISTED)["stages"]
    )
    assert "field proof: does not hold" in shown(recorded("oprf-psi", "malicious-matcher").told)["stages"]
    added = recorded("oprf-psi", "added-picture").told
    assert [one.what for one in added.scenes] == [LISTED, EDITED, LISTED]
    split = shown(recorded("oprf-psi", "split-view").told)["stages"]
    assert "alice was shown another log of the epochs than this device" in split
    run = call("(runs) => follow.opening(runs).parties", [to_builtins(recorded("oprf-psi", "pooled").told)])
    assert run == ["matcher", "provider"]


def has(told: Followed, what: str, at: int = 99) -> dict[str, str]:
    """What the boxes say."""
    html = shown(told, what=what, at=at)["html"].replace("&#39;", "'")
    return {
        one[0].removesuffix("'s device").removeprefix("the "): one[1]
        for one in re.findall(r'aria-label="([^":]+): ([^"]+)"', html)
    }


def test_boxes_say_what_is_had_of_the_picture_and_count_nothing(exact: Run, recorded: Any) -> None:
    listed = has(exact.told, LISTED)
    other = has(exact.told, INNOCENT)
    assert {
        "provider": "sealed only",
        "matcher": "blinded only",
        "centre": "has the picture",
    }.items() <= listed.items()
    assert other["centre"] == other["curator"] == "nothing of it" and other["bob"] == "has the picture"
    assert has(recorded("provider-scan").told, INNOCENT)["provider"] == "has the picture"
    assert has(recorded("hash-upload").told, INNOCENT)["matcher"] == "blurred likeness"
    held_back = recorded("oprf-psi", "malicious-matcher").told
    assert has(held_back, LISTED)["provider"] == "nothing of it", "Bob asked, and nothing was sent"
    assert "facts of it" not in shown(exact.told)["html"]


def test_a_pane_says_what_is_not_had_by_declaration_and_recording(exact: Run, recorded: Any) -> None:
    def pane(told: Followed, party: str) -> str:
        return shown(told, parties=[party])["pane"]

    matcher = pane(exact.told, "matcher")
    nothing = "nothing of it that can be read."
    assert f"The picture: {nothing}" in matcher and f"Its hash: {nothing}" in matcher
    assert "The picture: not so far. The design declares, and nothing showed it so far: if it cheats" in pane(
        exact.told, "provider"
    )
    sent = pane(recorded("hash-upload").told, "matcher")
    assert "The picture: a blurred likeness, which can be redrawn from its hash." in sent
    assert "Its hash: got." in sent and "not got" not in sent + matcher
    row = exact.told.declared[0]
    more = [
        replace(one, facts=(*one.facts, replace(row.facts[0], name="x", says="a hash", severity="hash")))
        for one in exact.told.declared
    ]
    assert "Its hash: not so far. The design declares, and nothing showed it so far: a hash" in pane(
        replace(exact.told, declared=tuple(more)), "matcher"
    )


def test_a_complaint_is_not_the_picture(exact: Run) -> None:
    told = exact.told
    scene = told.scenes[0]
    steps = list(told.steps)
    steps[scene.end - 1] = replace(
        steps[scene.end - 1], facts={"centre": [("complaint", "in the complaint")]}
    )
    assert has(replace(told, steps=tuple(steps)), INNOCENT)["centre"] == "not the picture"


def test_a_device_learns_before_it_reports_and_a_scanning_provider_as_it_gets_the_picture(
    exact: Run, recorded: Any
) -> None:
    def says(told: Followed, what: int) -> list[str]:
        scene = told.scenes[what]
        return [one.says for one in told.steps[scene.first : scene.end]]

    some = says(exact.told, 2)
    learns = next(
        at
        for at, one in enumerate(some)
        if "learns that the picture is listed. When, is not recorded." in one
    )
    assert "reports the picture" in some[learns + 1]
    scan = recorded("provider-scan").told
    some = says(scan, 0)
    assert "sends the message" in some[1] and "compares the picture with the list" in some[2]
    pane = of_picture(shown(scan)["pane"])
    assert "no match, by the declaration" in pane and "a report left" not in pane
    assert "when a report leaves" in of_picture(shown(scan, what=LISTED)["pane"])


def test_words_are_plain_and_those_of_today(exact: Run, recorded: Any) -> None:
    facts = [
        one
        for run in (exact, recorded("provider-scan"))
        for row in run.recording.events
        for mine in row.declared
        for one in mine.facts
    ]
    of_designs = {one.says for design in every_design() for leak in design.leakage() for one in leak.facts}
    assert {*follow.PLAIN} <= {one.says for one in facts} | of_designs
    told = recorded("oprf-psi", "malicious-matcher").told
    page = shown(told, parties=["provider", "centre", "matcher"])
    assert "1b blinded hash, attacked: malicious matcher the picture: " in page["stages"]
    assert "A blinded evaluation tells the device" in page["stages"] and "OPRF" not in page["stages"]
    assert "with: the answer's proof does not hold As recorded oprf-psi/reply: field proof" in page["stages"]
    for word in ("ratchet", "pre-key", "cover schedule", "confirmed match"):
        assert word not in page["html"]


def test_each_fact_that_an_honest_run_can_show_is_shown_by_one(recorded: Any) -> None:
    unseen = {
        "provider": {
            "unverified_keys",
            "shared_attachment",
            "pre_key_upkeep",
            "notice_time",
            "complaint_time",
        },
        "matcher": {"every_guess", "forced_report"},
        "centre": {"complaint"},
    }
    told = recorded("oprf-psi").told
    seen = {(party, name) for one in told.steps for party, some in one.facts.items() for name, _ in some}
    for row in told.declared:
        if len(row.parties) == 1 and row.adversary == "semi-honest" and row.parties[0] in unseen:
            party = row.parties[0]
            names = {fact.name for fact in row.facts}
            assert {name for name in names if (party, name) not in seen} <= unseen[party]


def test_every_method_of_a_device_has_words() -> None:
    methods = {path.rpartition("/")[2] for path in follow.REQUESTS}
    assert methods | {"Cover"} == {*follow.CALLS}


def test_where_a_carrier_hands_a_request_on_the_page_says_that_this_was_not_recorded(recorded: Any) -> None:
    told = recorded("third-party").told
    carried = [one for one in told.steps if one.supposed]
    assert {(one.source, one.kind) for one in carried if one.kind} == {("provider", "plain hash")}
    asked = [one for one in told.steps if one.target == "provider" and "asks about the picture" in one.says]
    assert {one.kind for one in asked} == {"ciphertext"}
    host = carried[0].target
    first = told.scenes[0].first
    at = next(at for at, one in enumerate(told.steps[first:], 1) if one.supposed)
    stages = shown(told, at=at, parties=[host])
    assert "Servers are not recorded: this is by the design's declaration." in stages["stages"]
    assert "line supposed" in stages["html"]
    pane = of_picture(stages["pane"])
    assert "hash" in pane and "which account" not in pane


def test_nothing_is_seen_by_a_coalition_of_which_somebody_got_nothing(recorded: Any) -> None:
    told = recorded("carried-token-psi").told
    scene = told.scenes[0]
    got = set[str]()
    seen = set[str]()
    for one in told.steps[scene.first : scene.end]:
        got |= {one.target}
        seen |= {party for names in one.facts for party in names.split("+")}
    assert seen <= got | {scene.sender} and "centre" not in seen
    names = {name for one in told.steps for some in one.facts.values() for name, _ in some}
    assert "delta_sizes" not in names, "there were none"
    assert {"query_count", "query_time"} <= names


def test_a_request_that_is_none_and_a_picture_that_is_none_are_named(exact: Run, tmp_path: Path) -> None:
    lines = exact.path.read_bytes().splitlines(keepends=True)
    for old, new, says in (
        (
            b"blindmatch.v1.Matching/Describe",
            b"blindmatch.v1.Matching/Describes",
            "request 0 of bob: method or body",
        ),
        (b'"picture":"', b'"picture":"AAAA', "event 8: operation: picture"),
    ):
        (tmp_path / "bad.jsonl").write_bytes(b"".join(lines).replace(old, new, 1))
        with pytest.raises(FollowError, match=says):
            followed(read_recording(tmp_path / "bad.jsonl"))
    (tmp_path / "bad.jsonl").write_bytes(b"".join(lines).replace(b'"says":"', b'"says":"' + b"x" * 3000, 1))
    with pytest.raises(follow.BlindmatchError, match=r"line 1: .*length <= 2000.*says"):
        read_recording(tmp_path / "bad.jsonl")


def test_the_command_does_not_write_over_a_recording_and_names_what_there_is(
    exact: Run, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(exact.path)
    for out in (
        exact.path,
        tmp_path / "link",
        exact.path.parent / ".." / exact.path.parent.name / exact.path.name,
    ):
        spared = in_process(tmp_path, "follow", exact.path, "--out", out)
        assert spared.code == 2 and "is a recording" in " ".join(spared.err.replace("\u2502", " ").split())
    assert read_recording(exact.path).events
    unknown = in_process(tmp_path, "record", tmp_path / "new.jsonl", "--attack", "magic")
    assert unknown.code == 2 and "split-view" in unknown.err and not (tmp_path / "new.jsonl").exists()
    page = tmp_path / "page.html"
    export = tmp_path / "page.json"
    done = in_process(tmp_path, "follow", exact.path, "--out", page, "--json", export)
    assert done.code == 0 and page.read_text("utf-8") == follow_page([exact.told])
    assert json.loads(export.read_text()) == [json.loads(msgspec.json.encode(exact.told))]
