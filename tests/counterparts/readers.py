"""Foreign readers and makers of what blindmatch writes and reads: each function compares, and says what."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xeddsa
from blindmatch_client.messages.contacts import compute_half
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto import oprf
from blindmatch_protocol.crypto.oprf import Evaluation, Mode
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.messages.sealed_message import is_signed, sign
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture, decode
from blindmatch_server.curator import ListFormat, import_list, open_list
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.endpoint import Call
from blindmatch_server.hosting.metrics import Metrics
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.pictures.crops import EDITS, SamplePicture, crops
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from support.command import in_process
from support.reference import derived_key
from support.signed import CURATOR

from counterparts.environments import HERE, ROOT, asked, check, debian, install, node_packages, run, virtual

FOREIGN = HERE / "foreign"
LISTED = 4
EDITED = ("jpeg-50", "resize-0.75", "brighter", "caption", "crop-2%", "border", "flip", "rotate-2")
NEAR = 2
"""Bits by which another decoder may change a hash (docs/reference/corpus.md's comparison allows as many)."""
WITHOUT_WHEELS = ("pdqhash", "weighted-levenshtein")
INPUTS = (b"x", b"second input", bytes(300))


def ours(home: Path, *arguments: object) -> None:
    """Run a command of ours, which must do it."""
    ran = in_process(home, *arguments)
    check(ran.code == 0, f"{' '.join(map(str, arguments))}: {ran.err}")


def files_of(pictures: Iterable[SamplePicture], folder: Path) -> Path:
    """A new folder with a file of each."""
    folder.mkdir()
    for one in pictures:
        (folder / f"{one.name}.png").write_bytes(one.data)
    return folder


def threatexchange() -> tuple[str, str]:
    """Its command finds pictures by our exported list; we import the CSV it writes of the same list."""
    env = virtual("peers/threatexchange", "threatexchange", build=WITHOUT_WHEELS)
    pictures = crops(2 * LISTED, 7)
    hashes = pdq.rows([one.hash for one in pictures[:LISTED]])
    with tempfile.TemporaryDirectory(prefix="counterparts-") as name:
        folder = Path(name)
        home = folder / "home"
        known = folder / "known.txt"
        csv = folder / "theirs.csv"
        ours(home, "certs", "init")
        ours(home, "list", "pictures", files_of(pictures[:LISTED], folder / "listed"), "known")
        ours(home, "list", "export", "known", known)

        def theirs(words: str, *more: object) -> str:
            command = [env.folder / "bin" / "threatexchange", *words.split(), *more]
            return run(command, env={"HOME": name, "PATH": "/usr/bin:/bin"}, cwd=name)

        theirs("config collab edit local_file --create ours --filename", known)
        theirs("fetch")
        found = _matched(pictures, hashes, folder / "sent.png", theirs)
        csv.write_text(theirs("dataset -P --csv -c ours"))
        import_list(csv, folder / "back.list", system_randomness(), list_format=ListFormat.THREATEXCHANGE)
        with open_list(folder / "back.list") as back:
            same = {row.tobytes() for row in np.array(back.hashes)} == {row.tobytes() for row in hashes}
        check(same, "the CSV it wrote gives another list")
    plain = [found[one.name] for one in pictures]
    edited = [hit for file, hit in found.items() if file not in {one.name for one in pictures}]
    return env.version, (
        f"finds {sum(plain[:LISTED])} of {LISTED} listed pictures by our export, {sum(plain[LISTED:])} of "
        f"{LISTED} others, {sum(edited)} of {len(edited)} edits, as we do; we import its CSV: the same list"
    )


def _matched(
    pictures: Sequence[SamplePicture], listed: Rows, path: Path, theirs: Callable[..., str]
) -> dict[str, bool]:
    """Which pictures and edited copies it finds, by name, each as our hash is near the list or not."""
    edits = {edit.name: edit for edit in EDITS}
    found = {}
    sent = {one.name: one.data for one in pictures}
    sent |= {f"{one.name}-{how}": edits[how].apply(one.data) for one in pictures[:2] for how in EDITED}
    for name, data in sent.items():
        path.write_bytes(data)
        found[name] = "(ours)" in theirs("match --only-signal pdq photo", path)
        mine = Picture.from_bytes(data).hash
        distance = int(pdq.distances(pdq.rows([mine]), listed).min())
        check(
            found[name] == (distance <= 31) or abs(distance - 31.5) < NEAR,
            f"{name}: at {distance} bits, it says {found[name]}",
        )
    return found


def pdqhash() -> tuple[str, str]:
    """Its hashes of generated pictures and crops are ours: 99 % bit for bit, none more than 2 bits away."""
    env = virtual("peers/threatexchange", "pdqhash", build=WITHOUT_WHEELS)
    pixels = [np.asarray(decode(one.data).pixels) for one in crops(60, 11)]
    with tempfile.TemporaryDirectory(prefix="counterparts-") as name:
        paths = []
        for number, one in enumerate(pixels):
            paths.append(Path(name) / f"{number}.npy")
            np.save(paths[-1], one[np.newaxis])
        theirs = json.loads(run([env.python, FOREIGN / "pdq_peer.py", *paths]))
    bits = []
    for one, (other, quality) in zip(pixels, theirs, strict=True):
        ours = pdq.fingerprint(pdq.luminance(one))
        bits.append(int(pdq.distances(pdq.rows([ours.hash]), pdq.rows([bytes.fromhex(other)])).min()))
        check(abs(ours.quality - quality) <= 1, f"quality {quality}, not {ours.quality}")
    equal = bits.count(0)
    words = f"{equal} of {len(bits)} hashes of crops equal, the furthest {max(bits)} bits away"
    check(max(bits) <= NEAR and equal >= 0.99 * len(bits), words)
    return env.version, words


def _voprf(command: list[object], **more: Any) -> str:
    """Mode VOPRF of RFC 9497, section 3.3.2, in both directions, and its proof with a bit altered."""
    seed = bytes(range(32))
    info = b"counterparts"
    mine = derived_key(seed, info, Mode.VOPRF)
    state, blinded = oprf.blind(INPUTS, Mode.VOPRF, system_randomness())
    given = {
        "seed": seed.hex(), "info": info.hex(), "inputs": [one.hex() for one in INPUTS],
        "blinded": [row.tobytes().hex() for row in blinded],
    }  # fmt: skip
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more
    ) as peer:
        assert peer.stdin is not None and peer.stdout is not None
        peer.stdin.write(json.dumps(given) + "\n")
        peer.stdin.flush()
        theirs = json.loads(peer.stdout.readline() or "{}")
        check(bool(theirs), "it gave no answer as a server")
        sent = np.frombuffer(bytes.fromhex("".join(theirs["sent"])), np.uint8).reshape(-1, 32)
        made = oprf.blind_evaluate(mine, sent, system_randomness())
        reply = {
            "public": mine.public.element.hex(),
            "proof": made.proof.hex(),
            "elements": made.elements.tobytes().hex(),
        }
        peer.stdin.write(json.dumps(reply) + "\n")
        peer.stdin.flush()
        finalized = json.loads(peer.stdout.readline() or "[]")
    ours = [row.tobytes().hex() for row in oprf.evaluate(mine, INPUTS)]
    check(theirs["public"] == mine.public.element.hex(), "DeriveKeyPair gives another key")
    elements = np.frombuffer(bytes.fromhex(theirs["elements"]), np.uint8).reshape(-1, 32)
    evaluation = Evaluation(elements, bytes.fromhex(theirs["proof"]))
    outputs = [row.tobytes().hex() for row in oprf.finalize(state, evaluation, mine.public)]
    altered = Evaluation(elements, evaluation.proof[:-1] + bytes([evaluation.proof[-1] ^ 1]))
    try:
        oprf.finalize(state, altered, mine.public)
    except ProtocolError:
        pass
    else:
        check(False, "we take its proof with a bit altered")
    check(outputs == theirs["outputs"] == ours, "our client and its server give another output")
    check(finalized == ours, "its client and our server give another output")
    return f"{len(INPUTS)} inputs, mode VOPRF: our client with its server, its client with ours: same outputs"


def voprf_python() -> tuple[str, str]:
    env = virtual("peers/voprf", "voprf")
    return env.version, _voprf([env.python, FOREIGN / "voprf_peer.py"])


def voprf_node() -> tuple[str, str]:
    env = node_packages("@noble/curves")
    return env.version, _voprf(["node", env.folder / "voprf_peer.mjs"], cwd=env.folder)


def signal_cases() -> dict[str, Any]:
    """What libsignal is asked, the same in each run; keys are of nobody."""
    keys = [bytes([number]) * 32 for number in (1, 2, 3)]
    publics = [_public(one).hex() for one in keys]
    names = [name.encode().hex() for name in ("alice", "bob", "carol")]
    messages = [b"", b"blindmatch", bytes(range(256)) * 4]
    return {
        "fingerprints": [
            [names[a], publics[a], names[b], publics[b]] for a, b in ((0, 1), (1, 0), (0, 2), (1, 2))
        ],
        "messages": [[one.hex(), message.hex()] for one in keys for message in messages],
        "signed": [
            [_public(one).hex(), message.hex(), sign(one, message, bytes([at]) * 64).hex()]
            for one in keys
            for at, message in enumerate(messages)
        ],
    }


def _public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def fingerprint(name: str, mine: str, peer: str, theirs: str) -> str:
    """libsignal's number by our digits: version 0, typed key and identifier are what is hashed first."""
    typed = [(b"\5" + bytes.fromhex(key), bytes.fromhex(who)) for who, key in ((name, mine), (peer, theirs))]
    return "".join(sorted(compute_half(b"\0\0" + key + who, key) for key, who in typed))


def held_against_signal(given: dict[str, Any], said: dict[str, Any]) -> str:
    """Compares what libsignal said of the cases; `DisagreementError` if anything differs."""
    check(said["fingerprints"] == [fingerprint(*one) for one in given["fingerprints"]], "another fingerprint")
    check(
        all(said["verdicts"]) and len(said["verdicts"]) == len(given["signed"]),
        "it refuses our XEdDSA signature",
    )
    plain = 0
    for (secret, message), public, signature in zip(
        given["messages"], said["publics"], said["signatures"], strict=True
    ):
        check(public == _public(bytes.fromhex(secret)).hex(), "another public key")
        key = bytes.fromhex(public)
        signed = bytes.fromhex(message)
        made = bytes.fromhex(signature)
        # it puts the sign of the Edwards point into a bit that XEdDSA (section 2.4) leaves 0
        has_sign = bool(made[63] & 128)
        bare = made[:63] + bytes([made[63] & 127])
        point = xeddsa.curve25519_pub_to_ed25519_pub(key, has_sign)
        check(xeddsa.ed25519_verify(bare, point, signed), "its XEdDSA signature is none")
        check(is_signed(key, signed, made) is not has_sign, "our verdict does not follow the bit of the sign")
        check(not is_signed(key, signed + b"!", made), "we take its signature of another message")
        plain += not has_sign
    ours = len(given["signed"])
    theirs = len(given["messages"])
    return (
        f"{len(given['fingerprints'])} numbers of 60 digits; it verifies {ours} XEdDSA signatures of ours; "
        f"we verify {plain} of its {theirs}, and refuse those with the sign of the point in their last bit"
    )


VECTORS = ROOT / "tests" / "vectors" / "libsignal.json"


def libsignal() -> tuple[str, str]:
    """Fingerprints and XEdDSA, live; what it says is kept as vectors, once."""
    env = node_packages("@signalapp/libsignal-client")
    given = signal_cases()
    given["signed"].append([given["signed"][0][0], "00", given["signed"][0][2]])
    said = asked(["node", env.folder / "signal_peer.mjs"], given, cwd=env.folder)
    check(said["verdicts"].pop() is False, "it takes our signature of another message")
    given["signed"].pop()
    words = held_against_signal(given, said)
    if not VECTORS.exists():
        held = {"source": f"libsignal {env.version}", "asked": given, "said": said}
        VECTORS.write_text(json.dumps(held, indent=1) + "\n")
    return env.version, words


def promtool() -> tuple[str, str]:
    """`promtool check metrics` of what a server serves after calls of two methods."""
    env = debian("promtool", "promtool")
    metrics = Metrics()
    for method, status in (
        ("Matching/Exchange", "OK"),
        ("Matching/Exchange", "ABORTED"),
        ("Relay/Send", "OK"),
    ):
        call = Call(
            f"/blindmatch.v1.{method}", "id", asyncio.Event(), status=status, seconds=0.01, bytes_in=3
        )
        metrics.count(call)
    with (
        metrics.served(0) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply,
    ):
        text = reply.read()
    command = [env.folder / "promtool", "check", "metrics"]
    ran = subprocess.run(command, input=text, capture_output=True, check=False)
    check(ran.returncode == 0, (ran.stdout + ran.stderr).decode().strip()[:200])
    twice = text + b"# TYPE blindmatch_draining gauge\nblindmatch_draining 0\n"
    ran = subprocess.run(command, input=twice, capture_output=True, check=False)
    check(ran.returncode != 0, "it takes a metric that stands twice")
    return env.version, f"check metrics: no finding in {text.count(b'# TYPE')} metrics of a server"


def openssl() -> tuple[str, str]:
    """Certificates by `openssl verify`, the signatures of manifests and leaves by `openssl pkeyutl`."""
    program = debian("openssl", "openssl").folder / "openssl"
    version = run([program, "version"]).split()[1]

    def verified(*options: object) -> bool:
        ran = subprocess.run([program, *map(str, options)], capture_output=True, check=False)
        return ran.returncode == 0

    with tempfile.TemporaryDirectory(prefix="counterparts-") as name:
        good, bad = _certificates(Path(name) / "home", verified)
        count = _signatures(Path(name), verified)
    return (
        version,
        f"verifies {good} certificates and refuses {bad} wrong uses; verifies the signatures "
        f"of a manifest and a leaf, and refuses {count} altered ones",
    )


def _certificates(home: Path, verified: Callable[..., bool]) -> tuple[int, int]:
    """Of a new deployment, in their uses and in others; how many of each were asked."""
    now = datetime.now(UTC)
    deployment = Deployment.create(home, now)
    parties = (Party.PROVIDER, Party.MATCHER, Party.CENTRE, Party("log"))
    deployment.admit(parties, now)
    device = deployment.device("alice")
    deployment.enrol(Identity(Kind.DEVICE, "alice"), device, now)
    good = []
    bad = []
    for party in parties:
        own = deployment.server(party)
        root = own / "ca.crt"
        chain = own / f"{party.server}.crt"
        how = ("verify", "-CAfile", root, "-purpose", "sslserver", "-verify_hostname")
        good.append(verified(*how, party.dns_name, chain))
        bad.append(verified(*how, "other.blindmatch.test", chain))
    alice = device / "device-alice.crt"
    roots = next(deployment.home.rglob("devices.crt"))
    good.append(verified("verify", "-CAfile", roots, "-purpose", "sslclient", alice))
    bad.append(verified("verify", "-CAfile", roots, "-purpose", "sslserver", alice))
    bad.append(verified("verify", "-CAfile", deployment.server(Party.MATCHER) / "ca.crt", alice))
    check(all(good) and not any(bad), f"{sum(good)} certificates verify, and {sum(bad)} that must not")
    return len(good), len(bad)


def _signatures(folder: Path, verified: Callable[..., bool]) -> int:
    """The curator's, and of altered bytes; how many were altered."""
    public = Ed25519PublicKey.from_public_bytes(CURATOR.public)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key, signed, signature = (folder / name for name in ("curator.pem", "signed", "signature"))
    key.write_bytes(pem)
    options = ("pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", key, "-sigfile", signature, "-in", signed)
    made = _signed_by_curator()
    for raw, tag in made:
        signature.write_bytes(raw[-64:])
        signed.write_bytes(tag + raw[:-64])
        check(verified(*options), "it refuses what the curator signed")
        signed.write_bytes(tag + raw[:-65] + bytes([raw[-65] ^ 1]))
        check(not verified(*options), "it takes what the curator did not sign")
    return len(made)


def _signed_by_curator() -> list[tuple[bytes, bytes]]:
    """A manifest and a leaf with their signatures last, and the tags that are signed before them."""
    manifest = EpochManifest("dummy", 1, 1, 0, bytes(32), 5, 6, 1, (), (), ())
    signed = CURATOR.sign(manifest)
    return [
        (manifest.encode() + signed.signature, b"blindmatch/epoch-manifest/signature/v1"),
        (CURATOR.leaf(manifest).encode(), b"blindmatch/epoch-leaf/signature/v1"),
    ]


def node_device() -> tuple[str, str]:
    """The device in JavaScript: its tests against vectors, then running matchers, then an epoch's files."""
    folder = ROOT / "tests" / "interop"
    node_packages("@noble/curves")  # that there are Node and npm
    install(["npm", "ci", "--loglevel=error"], cwd=folder)
    run(["npm", "test", "--silent"], cwd=folder)
    said = run([sys.executable, folder / "against_matcher.py"], env={**os.environ, "GRPC_VERBOSITY": "NONE"})
    lines = [line for line in said.splitlines() if "as the oracle says" in line]
    asked_of = sum(int(line.split(": ")[1].split()[0]) for line in lines)
    with tempfile.TemporaryDirectory(prefix="counterparts-") as name:
        refused = _epoch_read(Path(name), folder / "proofs.mjs")
    version = run(["node", "--version"]).strip()
    return version, (
        f"its tests pass; {asked_of} hashes asked of running matchers, each as the oracle says; it "
        f"verifies manifest, log proof and endorsements of an epoch, and refuses {refused} altered files, a "
        "cosignature of last week and another policy"
    )


ORGANISATIONS = ("north", "south", "west")


def _endorsed(home: Path, policy: Path) -> Path:
    """The files of an epoch that organisations endorsed and a log has; writes the log's policy."""
    pictures = crops(4, 5)
    ours(home, "certs", "init")
    ours(home, "log", "init", "--witnesses", 2)
    ours(home, "list", "policy", 2, *ORGANISATIONS)
    for at, name in enumerate(ORGANISATIONS):
        own = files_of(pictures[at : at + 3], policy.with_name(name))
        ours(home, "list", "submit", name, own, "known")
    ours(home, "list", "propose", "known", "--design", "oprf-psi")
    for name in ORGANISATIONS:
        ours(home, "list", "endorse", name, "known", "--design", "oprf-psi")
    ours(home, "list", "publish", "known", "--design", "oprf-psi")
    ours(home, "log", "show", "--design", "oprf-psi", "--policy", policy)
    return home / "curator" / "published" / "oprf-psi" / "1"


def _epoch_read(folder: Path, program: Path) -> int:
    """Has an endorsed and logged epoch verified, and as many altered ones refused as it says."""
    given = folder / "epoch"
    policy = folder / "policy.txt"
    other = folder / "other.txt"
    published = _endorsed(folder / "home", policy)
    given.mkdir()
    curator = folder / "home" / "curator" / "keys" / "curator.pub"
    files = {one: (published / one).read_bytes() for one in EPOCH_FILES}

    def verified(policy: Path = policy, at: str = "", **changed: bytes) -> str:
        for one, raw in files.items():
            (given / one).write_bytes(changed.get(one.replace(".", "_"), raw))
        more = [at] if at else []
        command = [str(shutil.which("node")), program, given, policy, curator, *more]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        return ran.stdout if ran.returncode == 0 else ""

    said = json.loads(verified() or "{}")
    check(
        (said.get("epoch"), said.get("listed"), len(said.get("seen", ()))) == ("1", 3, 2), f"it reads {said}"
    )
    refused = 0
    for one, raw in files.items():
        places = [int(part * len(raw)) for part in (0.1, 0.35, 0.6, 0.85, 0.99)]
        wrong = {f"byte {at} altered": raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in places}
        for how, altered in {**wrong, "a byte more": raw + b"\0"}.items():
            check(not verified(**{one.replace(".", "_"): altered}), f"it takes {one} with {how}")
            refused += 1
    late = str(int(datetime.now(UTC).timestamp()) + 8 * 86_400)
    check(not verified(at=late), "it takes a cosignature of last week")
    other.write_text(policy.read_text().replace("witness ", "witness x", 1))
    check(not verified(other), "it takes a policy that names no such witness")
    return refused


EPOCH_FILES = ("epoch.manifest", "epoch.leaf", "epoch.proof", "endorsement.bin")
