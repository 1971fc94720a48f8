"""Verify that an epoch is everybody's, with its files alone; needs `cryptography`, and nothing of ours.

    python examples/verify_epoch.py policy.txt curator.pub FOLDER [--at UNIX_TIME]

policy.txt is a tlog-policy (c2sp.org/tlog-policy), not from FOLDER, which holds epoch.leaf and epoch.proof.
"""

import argparse
import base64
import hashlib
import sys
import time
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def check(holds, rule):
    holds or sys.exit(f"does not hold: {rule}")


def verified(public, signature, signed):
    with suppress(InvalidSignature, ValueError):
        return Ed25519PublicKey.from_public_bytes(public).verify(signature, signed) is None


def vkey(text):
    """Name, key id, signature type and public key of c2sp.org/signed-note, "Verifier keys"."""
    name, key_id, encoded = text.split("+", 2)
    raw = base64.b64decode(encoded)
    check(hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == key_id, f"{name} has its own key id")
    return name, bytes.fromhex(key_id), raw[0], raw[1:]


def read_policy(text):
    logs = {}
    witnesses = {}
    groups = {}
    quorum = ""
    for words in (line.split() for line in text.split("\n")):
        match words:
            case ["log", key, *_]:
                logs |= {vkey(key)[0]: vkey(key)}
            case ["witness", name, key, *_]:
                witnesses[name] = vkey(key)
            case ["group", name, least, *members]:
                groups[name] = ({"any": 1, "all": len(members)}.get(least) or int(least), members)
            case ["quorum", name]:
                quorum = name
    members = [one for _, names in groups.values() for one in names]
    for once in ([key[3] for key in witnesses.values()], members):
        check(len(set(once)) == len(once), "no key has two names, and nobody is in two groups")
    return logs, witnesses, groups, quorum


def read_proof(raw):
    """Index, path, and the checkpoint's text and signatures (c2sp.org/tlog-proof)."""
    head, note = raw.decode().split("\n\n", 1)
    header, index, *path = head.split("\n")
    check(header == "c2sp.org/tlog-proof@v1" and index.startswith("index "), "the proof is a tlog-proof")
    text, *signatures = note.removesuffix("\n").replace("\n\n— ", "\n— ").split("\n— ")
    signed = [(name, base64.b64decode(one, validate=True)) for name, one in map(str.split, signatures)]
    return int(index.removeprefix("index ")), [base64.b64decode(one) for one in path], text + "\n", signed


def cosigned_at(key, text, signatures):
    """The times at which `key` signed the text; 0 for a log's own signature (c2sp.org/tlog-cosignature)."""
    name, key_id, kind, public = key
    for whose, raw in signatures:
        if (whose, raw[:4]) == (name, key_id):
            check(len(raw) == {1: 68, 4: 76}.get(kind), f"the signature of {name} is of a known kind")
            at = int.from_bytes(raw[4:12], "big") if kind == 4 else 0
            signed = f"cosignature/v1\ntime {at}\n{text}" if kind == 4 else text
            check(verified(public, raw[-64:], signed.encode()), f"{name} signed")
            yield at


def root_of(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    found = hashlib.sha256(b"\0" + leaf).digest()
    at = index
    last = size - 1
    for step in path:
        check(last > 0, "the path is not too long")
        if at & 1 or at == last:
            found = hashlib.sha256(b"\1" + step + found).digest()
            while not at & 1 and at:
                at = at >> 1
                last = last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + step).digest()
        at = at >> 1
        last = last >> 1
    check(last == 0 and 0 <= index < size, "the path is not too short")
    return found


def behind(raw, at):
    return at + 4 + int.from_bytes(raw[at : at + 4], "big")


def read_leaf(raw):
    """The fields of an epoch-leaf (0x1e): docs/reference/wire.md."""
    check(raw[:2] == b"\x1e\x1b", "epoch.leaf is an epoch-leaf")
    at = behind(raw, 2) + 76
    for rest in (8, None, 40):  # parameters, keys of roles, files
        count = int.from_bytes(raw[at : at + 4], "big")
        at = at + 4
        for _ in range(min(count, len(raw))):
            at = behind(raw, at + 1)
            at = at + rest if rest else behind(raw, at)
    policy = at + 32
    end = behind(raw, at + 32)
    check(len(raw) == end + 96, "epoch.leaf has nothing left over")
    return raw[1:at], raw[at:policy], raw[policy + 4 : end], raw[end:-64]


def verify_logged(policy, proof, leaf, at, design, most_age_s=7 * 86_400):
    """Origin and size of the log, the leaf's index, and who cosigned; a quorum of the policy did."""
    logs, witnesses, groups, quorum = read_policy(policy)
    index, path, text, signatures = read_proof(proof)
    origin, size, encoded = text.split("\n")[:3]
    check(origin in logs and [*cosigned_at(logs[origin], text, signatures)], "the log signed the checkpoint")
    check(origin.endswith(f"/epochs/{design}"), f"the log is of the epochs of {design}")
    ages = {who: [at - when for when in cosigned_at(witnesses[who], text, signatures)] for who in witnesses}
    seen = [name for name, every in ages.items() if any(-300 <= age <= most_age_s for age in every)]
    have = {"none", *seen}
    for name, (least, members) in groups.items():
        have |= {name} if len(have.intersection(members)) >= least else set()
    check(quorum in have, f"a quorum cosigned it in time, not {', '.join(seen) or 'nobody'} alone")
    check(root_of(leaf, index, int(size), path) == base64.b64decode(encoded), "the leaf is under the root")
    return origin, int(size), index, ", ".join(seen)


def main():
    parser = argparse.ArgumentParser()
    [parser.add_argument(name, type=Path) for name in ("policy", "curator", "folder")]
    parser.add_argument("--at", type=int, default=int(time.time()))
    given = parser.parse_args()
    raw, proof = ((given.folder / name).read_bytes() for name in ("epoch.leaf", "epoch.proof"))
    manifest, root, policy, sealing = read_leaf(raw)
    signed = b"blindmatch/epoch-leaf/signature/v1" + raw[:-64]
    check(verified(bytes.fromhex(given.curator.read_text()), raw[-64:], signed), "the curator signed it")
    end = behind(manifest, 1)
    design = manifest[5:end].decode()
    epoch = int.from_bytes(manifest[end + 4 : end + 12], "big")
    origin, size, index, seen = verify_logged(given.policy.read_text(), proof, raw, given.at, design)
    check(size == epoch and index == epoch - 1, f"the log ends with epoch {epoch}, at index {epoch - 1}")
    print(f"epoch {epoch} of {design}: newest of {origin}, seen by {seen}")
    print(f"endorsement root {root.hex()}, policy of {len(policy)} bytes, sealing key {sealing.hex()}")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        check(False, f"every file has its form: {error}")
