"""Verify what a report's file (0xa5) shows an outsider; needs cryptography, numpy, Pillow, nothing of ours.

    python examples/verify_report.py REPORT --identity HEX --curator curator.pub
                                     --endorsement-policy endorsement.json --log-policy policy.txt

Without what stands beside REPORT, from elsewhere, a claim is not shown: docs/explanation/accountability.md
"""

import argparse
import hashlib
import hmac
import json
import time
from itertools import repeat
from pathlib import Path

from pdq import pdq
from verify_epoch import check, root_of, verified, verify_logged

LAYOUTS = {  # docs/reference/wire.md, by tag: #n bytes, v with length, @ a message, * a list, ? one or none
    "a5": "@15 v ?#32 ?@1e v ?@25", "a0": "#16 #8 #32", "a2": "#32 #64", "a4": "v ?#32 ?@a2",
    "15": "#16 v #4 #8 @01 v v v #8 #8 v ?@69 v v ?@a0 ?@a4", "01": "#32 #8 #16 #8 #8 v",
    "69": "#32 *#32 *#32", "1e": "@1b #32 v #32 #64", "18": "v #8 #32", "19": "v #8",
    "1a": "v v", "1b": "v #4 #8 #8 #32 #8 #8 #8 *@19 *@1a *@18", "25": "@24 *#64 #8 *#32 #4 #4 *#32",
    "24": "#32 v #32 #1 #8 #8 #8 #32",
}  # fmt: skip
REPORT = "id design version epoch label reporter sender recipient sent_at matched_at media_type opening"
NAMES = f"{REPORT} picture score stamp proof report mode identity leaf epoch_proof endorsement raw"


def read(raw, at, kind):
    """A value that begins at `at`, and where it ends; of a message its fields, and then its own bytes."""
    if kind[0] == "#":
        end = at + int(kind[1:])
        check(end <= len(raw), "file: it is not cut off")
        return raw[at:end], end
    if kind == "v":
        return read(raw, at + 4, f"#{number(raw[at : at + 4])}")
    tag = kind[1:] if kind[0] == "@" else ""
    check(not tag or raw[at : at + 1].hex() == tag, f"file: a message 0x{tag} stands where one must be")
    kinds = LAYOUTS[tag].split() if tag else repeat(kind[1:], number(raw[at : at + 4]))
    found = []
    end = at + (1 if tag else 4)
    for one in kinds:
        value, end = read(raw, end, one)
        found.append(value)
    check(kind[0] != "?" or len(found) < 2, f"file: of {kind[1:]} there is one or none, not {len(found)}")
    return [*found, raw[at:end]] if tag else found, end


def number(raw):
    return int.from_bytes(raw, "big")


def framed(raw):
    return len(raw).to_bytes(4, "big") + raw


def by_identity(identity, signature, signed):
    """XEdDSA, section 2.5: Ed25519 under the point with the sign bit 0 that has the key's u."""
    u = int.from_bytes(identity, "little")
    prime = 2**255 - 19
    y = ((u - 1) * pow(u + 1, prime - 2, prime) % prime).to_bytes(32, "little")
    large = 1 < u < prime - 1 and ((u * u - 1) ** 2 - 4 * u * (u * u + 486662 * u + 1)) % prime  # its order
    return large and verified(y, signature, b"blindmatch/franking/" + signed)


def content(one, known):
    [(commitment, salts, closed, _)] = one.opening
    attachment = b"\5\x62" + hashlib.sha256(one.picture).digest() + framed(one.media_type)
    parts = b"\0" + framed(one.sender), b"\1" + framed(one.recipient), b"\2" + one.sent_at, attachment
    tag = b"blindmatch/franking/leaf/v2"
    opened = [hmac.digest(salt, tag + part, "sha256") for salt, part in zip(salts, parts, strict=True)]
    leaves = b"".join([*opened[:3], *closed[:2], *sorted([opened[3], *closed[2:]])])
    made = hashlib.sha256(b"blindmatch/franking/commitment/v2" + leaves).digest()
    binds = made == commitment and len(closed) == 33
    check(binds, "content: the commitment binds sender, recipient, time and picture")


def sender(one, known):
    check(one.identity == [known.identity], "sender: the file has the given identity key")
    check(one.mode == b"signature", "sender: the message is signed, as anybody can verify")
    [(proof, *_)] = one.proof
    [(commitment, *_)] = one.opening
    check(by_identity(known.identity, proof, b"sender/v1" + commitment), "sender: it signed the commitment")


def match(one, known):
    apart = (number(pdq(one.picture)) ^ number(one.label[0])).bit_count()
    check(apart <= 31, f"match: the picture is at most 31 bits from the entry's hash, not {apart}")


def endorsed(one, known):
    [(_, root, policy, *_)] = one.leaf
    curator = bytes.fromhex(known.curator.read_text())
    terms = json.loads(known.endorsement_policy.read_text())
    held = [(name, [one] if isinstance(one, str) else one) for name, one in terms["organisations"].items()]
    keys = sorted((name, bytes.fromhex(key)) for name, every in held for key in every)
    rows = b"".join(b"\x22" + framed(name.encode()) + key for name, key in keys)
    given = b"\x23" + bytes([terms["needed"]]) + len(keys).to_bytes(4, "big") + rows
    check(policy == given, "endorsed: the policy of the leaf is the given one")
    [(batch, signatures, index, path, at, count, up, _)] = one.endorsement
    *head, first, last, size, under, statement = batch
    digest = hashlib.sha256(b"blindmatch/endorsement/policy/v1" + given).digest()
    ours = head == [curator, one.design, digest, b"\1"] and first <= one.epoch <= last
    check(ours, "endorsed: for this deployment, design, policy and epoch")
    signed = b"blindmatch/endorsement/signature/v1" + statement
    by = [(*one, each) for one, each in zip(keys, signatures, strict=True) if any(each)]
    check(all(verified(key, each, signed) for _, key, each in by), "endorsed: each signature is good")
    check(len({name for name, *_ in by}) >= terms["needed"], "endorsed: enough organisations signed")
    entry = b"blindmatch/endorsement/entry/v1" + b"".join(one.label[:3])
    check(root_of(entry, number(index), number(size), path) == under, "endorsed: the entry is in the batch")
    check(root_of(statement, number(at), number(count), up) == root, "endorsed: the batch is the epoch's")


def logged(one, known):
    [(*_, leaf)] = one.leaf
    policy = known.log_policy.read_text()
    given = policy, one.epoch_proof, leaf, int(time.time()), one.design.decode()
    _, _, index, _ = verify_logged(*given, most_age_s=1 << 40)
    check(index == number(one.epoch) - 1, "logged: the leaf is at the epoch's index")


NEEDS = "", "identity", "label", "curator endorsement_policy", "log_policy"


def main():
    parser = argparse.ArgumentParser()
    for name in ("report", "--curator", "--endorsement-policy", "--log-policy"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--identity", type=bytes.fromhex)
    known = parser.parse_args()
    (report, *more), end = read(raw := known.report.read_bytes(), 0, "@a5")
    check(end == len(raw), "file: nothing is left over")
    one = argparse.Namespace(**dict(zip(NAMES.split(), [*report, *more], strict=True)))
    flag = len(one.score) == 8 and one.label[-1] == b"\1" + bytes(64) + b"\xff" * 8 + bytes(4)
    check(flag or not one.score, "file: a score has 8 bytes, and stands in the place of a label")
    known.label = None if flag else one.label
    for manifest, *_, signature, leaf in one.leaf:
        check([*manifest[:3:2]] == [one.design, one.epoch], "file: the leaf is of the report's epoch")
        signed = b"blindmatch/epoch-leaf/signature/v1" + leaf[:-64]
        key = known.curator and bytes.fromhex(known.curator.read_text())
        check(not key or verified(key, signature, signed), "file: the curator signed the leaf")
    for claim, needs in zip((content, sender, match, endorsed, logged), NEEDS, strict=True):
        missing = [name for name in needs.split() if getattr(known, name) is None]
        missing or claim(one, known)
        print(f"{claim.__name__:<9}{f'not shown without {missing}' if missing else 'passed'}")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        check(False, f"file: has its form: {error}")
