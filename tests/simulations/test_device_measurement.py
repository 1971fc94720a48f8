"""What the report's button runs on its reader's device is what our own device computes, and is bounded."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch import open_design
from blindmatch.opening import picture_of
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import UNBOUND, Ready, Send
from blindmatch_protocol.crypto.oprf import Evaluation
from blindmatch_protocol.designs.oprf_psi.design import INPUT_TAG as EXACT_TAG
from blindmatch_protocol.designs.token_psi.build import INPUT_TAG as NEAR_TAG
from blindmatch_simulations.report.device import device_requests, request_of
from blindmatch_simulations.report.page import NOBLE, SCRIPTS, asset, script, vendored
from py_mini_racer import MiniRacer
from support import noble
from support.drawn import engine

RFC = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9497-ristretto255-sha512.json").read_text())
MOST_BYTES = 60_000
_CALLS = """
const answerText = (text) => {
  const {blinded, outputs} = device.answer(JSON.parse(text));
  return JSON.stringify({blinded: blinded.map(hexOf), outputs: outputs.map(hexOf)});
};
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytesOf = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
const checkText = (text) => {
  try {
    const request = JSON.parse(text);
    device.check(request, device.answer(request));
    return "as computed";
  } catch (error) {
    return error.message;
  }
};
const evaluateText = (text) => {
  const {key, public_key, blinded, rng} = JSON.parse(text), take = () => bytesOf(rng);
  const {blindEvaluateBatch} = noble.ristretto255_oprf.voprf;
  const made = blindEvaluateBatch(bytesOf(key), bytesOf(public_key), blinded.map(bytesOf), take);
  return JSON.stringify(made.evaluated.map(hexOf));
};
// a clock whose readings are given
let measured = null;
const measureText = (text) => {
  const {requests, readings} = JSON.parse(text), told = [];
  let rests = 0, read = 0;
  measured = null;
  device.measure(requests, {
    clock: () => {
      if (read === readings.length) throw new Error("the clock was read more often than expected");
      return readings[read++];
    },
    rest: () => Promise.resolve(rests++),
    tell: (done, of) => told.push([done, of]),
  }).then(
    (found) => (measured = {found, rests, told, left: readings.length - read}),
    (error) => (measured = {error: error.message}),
  );
  return true;
};
const measuredText = () => JSON.stringify(measured);
"""


@pytest.fixture(scope="module")
def browserless() -> MiniRacer:
    return engine(vendored(NOBLE) + asset("device.js") + _CALLS)


def answer(browserless: MiniRacer, request: dict[str, Any]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = json.loads(browserless.call("answerText", json.dumps(request)))
    return made


VECTORS = [
    pytest.param(vector, id=f"{at}: {len(vector['input'])} inputs")
    for at, vector in enumerate(RFC["voprf"]["vectors"])
]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_device_computes_the_vectors_of_rfc_9497(browserless: MiniRacer, vector: dict[str, Any]) -> None:
    request = {
        "tag": "",
        "items": vector["input"],
        "blinds": vector["blind"],
        "evaluated": vector["evaluation_element"],
        "proof": vector["proof"],
        "public_key": RFC["voprf"]["public_key"],
    }
    made = answer(browserless, request)
    assert made["blinded"] == vector["blinded_element"]
    assert made["outputs"] == vector["output"]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_bundle_evaluates_as_rfc_9497_says(browserless: MiniRacer, vector: dict[str, Any]) -> None:
    asked = {
        "key": RFC["voprf"]["secret_key"],
        "public_key": RFC["voprf"]["public_key"],
        "blinded": vector["blinded_element"],
        "rng": "07" * 48,
    }
    made = json.loads(browserless.call("evaluateText", json.dumps(asked)))
    assert made == vector["evaluation_element"]


@pytest.mark.parametrize(("name", "tag"), [("oprf-psi", EXACT_TAG), ("token-psi", NEAR_TAG)])
def test_the_device_computes_what_the_designs_own_device_does(
    browserless: MiniRacer, name: str, tag: bytes
) -> None:
    opened = open_design(name).deployed
    design = opened.design
    item = picture_of(np.random.default_rng(5).integers(0, 256, (256, 256, 3), np.uint8))
    rng = seeded(f"test/{name}")
    started = design.start(design.enrol(rng), opened.setup, item, UNBOUND, rng)
    assert isinstance(started.step, Send)
    ((role, body),) = started.step.bodies.items()
    reply, _ = opened.answer(role, body, rng)
    ready = design.receive(started.step.session, opened.setup, {role: reply}, rng)
    assert isinstance(ready, Ready)
    outputs = ready.session.outputs

    blinding = started.step.session.blinding
    evaluation = Evaluation(reply.evaluated, reply.proof)
    made = answer(browserless, request_of(blinding, evaluation, opened.setup.keys.whole, tag, outputs))
    assert made["blinded"] == [row.tobytes().hex() for row in body.blinded]
    assert made["outputs"] == [row.tobytes().hex() for row in outputs]


def test_the_embedded_requests_are_of_the_designs_defaults_and_hold(browserless: MiniRacer) -> None:
    exact, near = device_requests()
    for request, name, elements in ((exact, "oprf-psi", 1), (near, "token-psi", 160)):
        opened = open_design(name).deployed
        assert request["design"] == name
        assert request["version"] == opened.design.info.version
        assert opened.setup.parameters.items() >= request["parameters"].items()
        assert opened.setup.count == elements == len(request["items"])
        assert browserless.call("checkText", json.dumps(request)) == "as computed"
        made = answer(browserless, request)
        raw = b"".join(bytes.fromhex(row) for row in made["outputs"])
        assert sha512(raw).hexdigest() == request["outputs_sha512"]
    assert len(json.dumps(device_requests())) < 30_000


@pytest.mark.parametrize("field", ["items", "blinds", "evaluated", "proof", "public_key", "outputs_sha512"])
def test_an_altered_request_is_an_error_and_no_figure(browserless: MiniRacer, field: str) -> None:
    request = deepcopy(device_requests()[0])
    value = request[field]
    if isinstance(value, str):
        request[field] = flipped(value)
    else:
        value[0] = flipped(value[0])
    assert browserless.call("checkText", json.dumps(request)) != "as computed"
    assert "error" in measured(browserless, [request], FEW)


def flipped(text: str) -> str:
    """Return the text with the lowest bit of its first byte changed, which keeps a scalar below the order."""
    return format(int(text[:2], 16) ^ 1, "02x") + text[2:]


TICKS = [0.0, 0.1, 0.2]
"""What is read of a clock to know how finely it ticks."""


def measured(browserless: MiniRacer, requests: list[dict[str, Any]], times: list[float]) -> dict[str, Any]:
    """Return what a measurement comes to by a clock that ticks each tenth of a millisecond, by which repeats
    take so many milliseconds."""
    readings = list(TICKS)
    for time in times:
        readings += [readings[-1] + 7, readings[-1] + 7 + time]
    assert browserless.call("measureText", json.dumps({"requests": requests, "readings": readings}))
    found: dict[str, Any] = json.loads(browserless.call("measuredText"))
    return found


FEW = [80.0, 8.0, 8.8, 9.6, 10.4, 11.2, 12.0, 12.8, 13.6, 14.4, 16.0]
MANY = [900.0, 700.0, 1000.0, 800.0, 750.0, 710.0, 720.0, 990.0, 980.0]


@pytest.fixture(scope="module")
def whole(browserless: MiniRacer) -> dict[str, Any]:
    """What a measurement of both requests comes to."""
    return measured(browserless, device_requests(), FEW + MANY)


def test_a_measurement_is_a_fixed_number_of_repeats_with_a_rest_before_each(whole: dict[str, Any]) -> None:
    repeats = len(FEW) + len(MANY)
    assert whole["left"] == 0
    assert whole["rests"] == 1 + repeats
    assert whole["told"] == [[done, repeats] for done in range(repeats + 1)]


def test_what_is_shown_is_median_and_range_of_one_request(whole: dict[str, Any]) -> None:
    exact, near = whole["found"]
    assert (exact["design"], exact["elements"], exact["repeats"]) == ("oprf-psi", 1, len(FEW))
    together = exact["together"]
    assert together > 1
    assert exact["median"] == pytest.approx(12.0 / together)
    assert [exact["low"], exact["high"]] == pytest.approx([8.0 / together, 80.0 / together])
    assert (near["design"], near["elements"], near["repeats"]) == ("token-psi", 160, len(MANY))
    assert [near["median"], near["low"], near["high"]] == pytest.approx([800.0, 700.0, 1000.0])


def test_a_clock_that_ticks_too_coarsely_gives_no_figure(browserless: MiniRacer) -> None:
    made = measured(browserless, device_requests()[:1], [1.9] * len(FEW))
    assert made == {"error": "this browser\u2019s clock is too coarse to measure this"}


def test_a_clock_that_stands_still_gives_no_figure(browserless: MiniRacer) -> None:
    asked = json.dumps({"requests": device_requests()[:1], "readings": [3.0] * 2_000_100})
    assert browserless.call("measureText", asked)
    assert "too coarse" in json.loads(browserless.call("measuredText"))["error"]


def test_the_bundle_is_the_recorded_one_and_small() -> None:
    record = json.loads(vendored(noble.RECORD))
    bundle = vendored(NOBLE)
    raw = bundle.encode()
    assert record["sha256"] == sha256(raw).hexdigest()
    assert record["bytes"] == len(raw) < MOST_BYTES
    locked = noble.versions()
    assert record["packages"] == {name: locked[name] for name in noble.PACKAGES}
    assert (record["esbuild"], record["options"]) == (locked["esbuild"], list(noble.OPTIONS))
    assert vendored(noble.LICENCE).strip() in bundle
    # it stands within a script element
    assert not re.search(r"</script|<!--", bundle, re.IGNORECASE)


def test_every_report_has_the_bundle_with_its_licence_once_and_drawing_alone_has_none() -> None:
    drawn = script()
    assert drawn.count(vendored(NOBLE)) == 1
    assert drawn.startswith('"use strict"')
    assert vendored(NOBLE) not in script(drawing_alone=True)


def test_the_measurement_neither_sends_nor_draws_markup() -> None:
    assert "device" in SCRIPTS
    text = asset("device.js")
    assert not re.search(r"fetch|XMLHttp|WebSocket|sendBeacon|import\(|innerHTML|Worker|localStorage", text)
    assert max(map(len, text.splitlines())) <= 120
