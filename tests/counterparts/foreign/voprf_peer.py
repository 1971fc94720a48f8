"""The package voprf (PyPI) as server and client of RFC 9497, mode VOPRF, ristretto255; JSON in and out."""

import json
import sys

from voprf import ristretto as peer


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def serve(given):
    server = peer.Evaluator.from_seed(bytes.fromhex(given["seed"]), bytes.fromhex(given["info"]))
    blinded = [peer.BlindedInput.deserialize(bytes.fromhex(one)) for one in given["blinded"]]
    raw = server.evaluate_batch(blinded).serialize()  # the proof, then the elements
    known = [server.evaluate_known_input(bytes.fromhex(one)).hex() for one in given["inputs"]]
    return {
        "public": server.public_key.serialize().hex(),
        "proof": raw[:64].hex(),
        "elements": raw[64:].hex(),
        "outputs": known,
    }


def main():
    given = json.loads(sys.stdin.readline())
    pairs = [peer.Client.blind(bytes.fromhex(one)) for one in given["inputs"]]
    say(json.dumps({**serve(given), "sent": [sent.serialize().hex() for _, sent in pairs]}))
    reply = json.loads(sys.stdin.readline())
    batch = peer.VerifiableBatchOutput.deserialize(bytes.fromhex(reply["proof"] + reply["elements"]))
    key = peer.PublicKey.deserialize(bytes.fromhex(reply["public"]))
    outputs = peer.Client.finalize_batch([client for client, _ in pairs], batch, key)
    say(json.dumps([one.hex() for one in outputs]))


main()
