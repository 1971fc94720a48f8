"""Bad input of every command ends in one line that names the field and the rule, and in its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import note_design
from blindmatch_simulations.testbed.scenario.recording import RecordingError, read_recording
from support.command import BAD_STATE, REFUSED, USAGE, in_process, refused

# deployments and names


def test_a_second_authority_is_refused(home: Path) -> None:
    refused(in_process(home, "certs", "init"), BAD_STATE, "is a deployment already")


def test_a_folder_in_use_and_a_file_are_no_homes(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    refused(in_process(tmp_path / "full", "certs", "init"), BAD_STATE, "a new or an empty folder")
    refused(in_process(tmp_path / "full" / "thesis.tex", "certs", "init"), BAD_STATE, "thesis.tex", "exists")


def test_an_empty_folder_becomes_a_home(tmp_path: Path) -> None:
    assert in_process(tmp_path, "certs", "init").code == 0


@pytest.mark.parametrize("name", ["Alice", "a b", "", "../alice", "relay", "a" * 33])
@pytest.mark.parametrize(
    "command", [["device", "register"], ["certs", "issue", "device", "--name"]], ids=" ".join
)
def test_a_name_that_is_not_allowed_is_refused_with_the_rule(
    command: list[str], name: str, home: Path
) -> None:
    refused(in_process(home, *command, name), REFUSED, "field name", "1 to 32 of a-z 0-9 _ -")


@pytest.mark.parametrize("verb", ["issue", "renew", "revoke"])
def test_certs_take_the_name_of_a_device_and_none_of_a_server_in_one_way(verb: str, home: Path) -> None:
    refused(in_process(home, "certs", verb, "device"), REFUSED, "field name", "1 to 32 of a-z 0-9 _ -")
    given = in_process(home, "certs", verb, "relay", "--name", "alice")
    assert given.code == 2 and "a server has none" in given.err
    placed = in_process(home, "certs", verb, "device", "alice")
    assert placed.code == 2 and "unexpected extra argument" in placed.err


def test_a_certificate_is_issued_to_a_server_that_has_none(home: Path) -> None:
    assert not (home / "party_a").exists()
    assert in_process(home, "certs", "issue", "party_a").code == 0
    made = (home / "party_a" / "party_a.crt").read_bytes()
    assert in_process(home, "certs", "issue", "party_a").code == 0
    assert (home / "party_a" / "party_a.crt").read_bytes() == made, "the one that is there is kept"


@pytest.mark.parametrize("text", ["{", "[]", '{"layout": 9}', ""])
def test_a_damaged_or_newer_deployment_is_refused(text: str, home: Path) -> None:
    (home / "deployment.json").write_text(text)
    refused(in_process(home, "list", "inspect", "known"), BAD_STATE, "home")


def test_missing_certificates_are_named(home: Path) -> None:
    for path in (home / "relay").glob("*.crt"):
        path.unlink()
    refused(in_process(home, "serve", "relay", "--port", 0), BAD_STATE, "certificates", "ca.crt")


# lists


def test_bad_lines_are_left_out_and_their_numbers_kept(home: Path, tmp_path: Path) -> None:
    good = "3c" * 32
    twice = "a5" * 32
    lines = [f"pdq {good}", "pdq zz", f"pdq {twice}", "", "nonsense", f"pdq {twice}", f"pdq {'0' * 64}"]
    source = tmp_path / "mixed.pdq"
    source.write_text("\n".join(lines) + "\n")
    ran = in_process(home, "list", "import", source, "mixed", "--json", "-")
    assert ran.code == 0
    assert (ran.json["entries"], ran.json["duplicates"]) == (2, 1)
    assert ran.json["rejected"] == {"hash-not-hex": 1, "not-a-pdq-line": 1, "hash-all-zero": 1}
    rejects = [json.loads(line) for line in Path(ran.json["rejects"]).read_text().splitlines()]
    assert [reject["line"] for reject in rejects] == [2, 5, 7]
    assert all("zz" not in json.dumps(reject) for reject in rejects)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"pdq zz\nnonsense\n", "all 2 records were rejected: 1 hash-not-hex, 1 not-a-pdq-line"),
        (b"\xff\xfe\x00binary\n" * 3, "is UTF-16, not UTF-8"),
        (b"\x80binary\n" * 3, "bad.pdq: cannot tell its format"),
    ],
)
def test_a_list_with_nothing_valid_is_refused(content: bytes, words: str, home: Path, tmp_path: Path) -> None:
    source = tmp_path / "bad.pdq"
    source.write_bytes(content)
    refused(in_process(home, "list", "import", source, "bad"), REFUSED, words)
    assert in_process(home, "list", "inspect", "bad").code == BAD_STATE


def test_a_missing_source_a_folder_and_a_missing_list_are_named(home: Path, tmp_path: Path) -> None:
    refused(in_process(home, "list", "import", tmp_path / "none.pdq", "l"), BAD_STATE, "none.pdq")
    refused(in_process(home, "list", "import", home, "l"), BAD_STATE, "home", "directory")
    for command in (["list", "inspect"], ["list", "build"], ["centre", "learn"], ["list", "diff", "known"]):
        refused(in_process(home, *command, "lost"), BAD_STATE, "lost.list")
    refused(in_process(home, "list", "export", "known", tmp_path / "no" / "x"), BAD_STATE, "cannot write x")


def test_a_damaged_list_is_refused(home: Path) -> None:
    path = home / "curator" / "lists" / "known.list"
    path.write_bytes(path.read_bytes()[:-7])
    refused(in_process(home, "list", "build", "known"), BAD_STATE, "known.list")


def test_parameters_are_checked_before_anything_is_built(home: Path) -> None:
    build = ["list", "build", "known", "--set"]
    for value in ("evaluations", "evaluations=\u0664", "evaluations=" + 5000 * "9"):
        malformed = in_process(home, *build, value)
        assert malformed.code == USAGE and "NAME=VALUE" in malformed.err
    twice = in_process(home, *build, "evaluations=2", "--set", "evaluations=3")
    assert twice.code == USAGE and "given twice" in twice.err
    refused(in_process(home, *build, "none=1"), REFUSED, "no parameter none")
    bench = ["bench", "parties", "oprf-psi", "--log2n", 2, "--set", "none=1"]
    refused(in_process(home, *bench), REFUSED, "no parameter none")
    refused(in_process(home, *build, "evaluations=0"), REFUSED, "evaluations")
    refused(in_process(home, "list", "build", "known", "--epoch", 1), BAD_STATE, "epoch 1 is published")
    assert [path.name for path in (home / "curator/published/oprf-psi").glob("[0-9]*")] == ["1"]


def test_pictures_that_are_none_are_refused_by_the_centre_with_the_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "notes.txt").write_text("not a picture")
    learn = ["centre", "learn", "known", "--pictures"]
    refused(in_process(home, *learn, tmp_path / "p"), REFUSED, "notes.txt", "format")
    refused(in_process(home, *learn, tmp_path / "q"), BAD_STATE, "q: No such file")


# designs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X = 3", "is not a Design"),
        ("Y = 3", "has no X; name the Design object"),
        ("from blindmatch_protocol.designs.oprf_psi import OprfPsi as X", "is a class; name an object"),
        ("raise ValueError('first\\nsecond')", "cannot be loaded: ValueError: first second"),
        ("import sys\nsys.exit(0)", "cannot be loaded: SystemExit"),
        ("X = = 3", "cannot be loaded: SyntaxError"),
        ("import nowhere_to_be_found", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_file_without_a_design_is_refused_with_the_reason(
    text: str, words: str, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "design.py"
    path.write_text(text)
    for command in (["list", "build", "known"], ["serve", "all"], ["device", "register", "carol"]):
        refused(in_process(home, *command, "--design", f"{path}:X"), REFUSED, "design.py", words)
    # a demo holds plug-ins to bounds, of which ending the process breaks one
    bounded = words.replace("SystemExit", "EndedProcessError: was about to end the process (sys.exit)")
    refused(in_process(tmp_path / "new", "demo", "--design", f"{path}:X"), REFUSED, bounded)


def test_an_unknown_design_is_refused_with_those_there_are(home: Path, tmp_path: Path) -> None:
    refused(in_process(home, "list", "build", "known", "--design", "psi"), REFUSED, "'psi'", "oprf-psi")
    lost = f"{tmp_path / 'lost.py'}:X"
    refused(in_process(home, "list", "build", "known", "--design", lost), BAD_STATE, "lost.py: no such file")


# JSON


def test_json_on_standard_output_is_json_and_nothing_else(served: Path, tmp_path: Path) -> None:
    source = tmp_path / "one.pdq"
    source.write_text(f"pdq {'3c' * 32}\n")
    for command in (
        ["design", "list"],
        ["list", "random", 5, "five"],
        ["list", "import", source, "one"],
        ["list", "inspect", "known"],
        ["list", "diff", "known", "five"],
        ["list", "build", "one", "--design", "none"],
        ["device", "register", "erin", "--design", "oprf-psi"],
        ["device", "list"],
        ["device", "remove", "erin", "--yes"],
        ["device", "send", "alice", "bob", "--text", "hi"],
        ["device", "inbox", "bob"],
        ["device", "flush", "alice"],
        ["centre", "list"],
    ):
        ran = in_process(served, *command, "--json", "-")
        assert ran.code == 0, ran.err
        assert isinstance(ran.json, dict | list)
    note_design(Deployment.open(served), "oprf-psi")


@pytest.mark.parametrize("path", ["missing/x.json", "."])
def test_a_json_file_that_cannot_be_written_is_refused_before_any_work(path: str, tmp_path: Path) -> None:
    ran = in_process(tmp_path / "home", "demo", "--json", tmp_path / path)
    assert ran.code == USAGE
    assert "must be a file in a folder that exists" in " ".join(ran.err.replace("│", " ").split())


def test_a_result_file_is_whole_or_not_there(served: Path, tmp_path: Path) -> None:
    assert in_process(served, "design", "list", "--json", tmp_path / "designs.json").code == 0
    names = {design["name"] for design in json.loads((tmp_path / "designs.json").read_text())}
    assert {"none", "provider-scan", "hash-upload", "oprf-psi"} <= names
    assert [path.name for path in tmp_path.iterdir()] == ["designs.json"]


def test_samples_do_not_overwrite_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(in_process(tmp_path, "samples", tmp_path / "file", "--count", 2), BAD_STATE, "file", "directory")


# brackets

DEEP = ('{"a":' * 20_000 + "1" + "}" * 20_000, "[" * 20_000 + "]" * 20_000, "[" * 20_000)


@pytest.mark.parametrize(
    "text", [*DEEP, '{"layout": [' + "[" * 20_000], ids=["objects", "lists", "open", "within"]
)
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("deployment.json", ["list", "inspect", "known"]),
        ("design.json", ["list", "build", "known"]),
        ("addresses.json", ["centre", "list"]),
        ("log.json", ["log", "show"]),
        ("endorsement.json", ["list", "build", "known"]),
        ("devices/alice/device.json", ["device", "status", "alice"]),
        ("results.json", ["report", "."]),
        ("file", ["results", "to-csv", "file"]),
        ("file", ["population", "--results", "file"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_deep_nesting_in_a_file_is_one_line(
    name: str, command: list[str], text: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(text)
    ran = in_process(home, *command)
    assert ran.code in (BAD_STATE, REFUSED), ran
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 20_000, "a = " + "{b=" * 20_000, "a = " + "9" * 5000],
    ids=["lists", "objects", "number"],
)
@pytest.mark.parametrize(
    "command", [["assess", "--out", "o", "--workload"], ["population", "--inputs"]], ids=" ".join
)
def test_deep_nesting_and_endless_numbers_in_a_workload_are_one_line(
    command: list[str], text: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text(text)
    refused(in_process(tmp_path, *command, tmp_path / "file"), REFUSED, "not TOML")


@pytest.mark.parametrize("number", ["1e999", "Infinity", "9" * 5000])
def test_numbers_beyond_all_bounds_in_a_policy_are_one_line(number: str, home: Path) -> None:
    (home / "endorsement.json").write_text(f'{{"needed": {number}, "organisations": {{}}}}')
    refused(in_process(home, "list", "build", "known"), BAD_STATE, "endorsement.json")


@pytest.mark.parametrize("text", DEEP)
def test_deep_nesting_in_a_recording_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text + "\n")
    with pytest.raises(RecordingError, match="file, line 1: not by version"):
        read_recording(tmp_path / "file")


# columns


@pytest.mark.parametrize("head", ["id,hash,added", "hash", "signal,str", 'a,"b"'])
def test_csv_of_unknown_columns_is_told_the_header_it_wants(head: str, home: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_text(f"{head}\n" + ",".join(["3c" * 32] * (head.count(",") + 1)) + "\n")
    for options in ([], ["--format", "threatexchange"]):
        ran = in_process(home, "list", "import", source, "mine", *options)
        refused(ran, REFUSED, "signal_type,signal_str,collab,category,tags", "--column signal_str=ITS_NAME")


@pytest.mark.parametrize(
    ("text", "columns", "entries"),
    [
        ("id,hash,added\n1,{0},x\n2,{1},y\n", ["signal_str=hash"], 2),
        ('hash\n{0}\n"{1}"\n', ["signal_str=hash"], 2),
        ("id,hash,kind\n1,{0},pdq\n2,{1},md5\n", ["signal_str=hash", "signal_type=kind"], 1),
        ("signal_type,hash\npdq,{0}\nmd5,{1}\n", ["signal_str=hash"], 1),
        ("kind,signal_str\npdq,{0}\nmd5,{1}\n", ["signal_type=kind"], 1),
        ("a=b,c\n{0},1\n", ["signal_str=a=b"], 1),
    ],
)
def test_columns_of_other_names_are_mapped(
    text: str, columns: list[str], entries: int, home: Path, tmp_path: Path
) -> None:
    source = tmp_path / "mine.csv"
    source.write_text(text.format("3c" * 32, "a5" * 32))
    options = [word for one in columns for word in ("--column", one)]
    ran = in_process(home, "list", "import", source, "mine", *options, "--json", "-")
    assert (ran.code, ran.json["entries"]) == (0, entries), ran.err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--column", "hash=signal_str"], USAGE, "must be signal_str=ITS_NAME"),
        (["--column", "signal_str="], USAGE, "must be signal_str=ITS_NAME"),
        (["--column", "signal_str"], USAGE, "must be signal_str=ITS_NAME"),
        (["--column", "signal_str=hash", "--format", "ncmec"], USAGE, "is of CSV"),
        (["--column", "signal_str=none"], REFUSED, "the first line must be the header signal_type,none"),
        (["--column", "signal_str=hash", "--column", "signal_type=none"], REFUSED, "the header none,hash"),
        (["--column", "signal_str=twice"], REFUSED, "two columns"),
    ],
)
def test_columns_that_are_not_there_are_refused(
    options: list[str], code: int, words: str, home: Path, tmp_path: Path
) -> None:
    source = tmp_path / "mine.csv"
    source.write_text(f"id,hash,twice,twice\n1,{'3c' * 32},2,3\n")
    ran = in_process(home, "list", "import", source, "mine", *options)
    assert ran.code == code and words in " ".join(ran.err.replace("│", " ").split()), ran.err
