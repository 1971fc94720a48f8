// Measures on the reader's own device what the device does for one picture in designs with a VOPRF (RFC 9497).
//
// This module knows nothing of the rest of the page. It needs the global `noble` (vendored/noble-curves.js), which does
// all the work in the group, and requests that this program made (report/device.py): inputs, blinds, the matcher's
// reply, and digests of what must come out. Nothing is sent, and nothing of the reader's is used.
//
//   device.answer(request)              the device's work for one request: what it would send, and its outputs
//   device.check(request, answer)       throws unless the answer is what this program computed
//   device.measure(requests, browser)   repeats the work and times it
//   device.show(place, rows, words)     draws the button and the table into a place, or moves them there
const device = (() => {
  // ---- bytes
  const fromHex = (text) => Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
  const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const fromText = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const joined = (parts) => {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  };

  // ---- the device's part of one request
  // RFC 9497, sections 3.1 and 4.1: mode VOPRF is 1
  const HASH_TO_GROUP = {DST: fromText("HashToGroup-OPRFV1-\x01-ristretto255-SHA512")};

  // as bytes, decoded before any clock runs
  const decode = (request) => {
    const tag = fromHex(request.tag);
    return {
      inputs: request.items.map((item) => joined([tag, fromHex(item)])),
      blinds: request.blinds.map(fromHex),
      evaluated: request.evaluated.map(fromHex),
      proof: fromHex(request.proof),
      publicKey: fromHex(request.public_key),
    };
  };

  // RFC 9497, section 3.3.2: Blind, and after the reply Finalize, which verifies one proof for all elements first
  const compute = ({inputs, blinds, evaluated, proof, publicKey}) => {
    const {Fn} = noble.ristretto255.Point;
    const blinded = inputs.map((input, at) =>
      noble.ristretto255_hasher.hashToCurve(input, HASH_TO_GROUP).multiply(Fn.fromBytes(blinds[at])).toBytes(),
    );
    const items = inputs.map((input, at) => ({
      input,
      blind: blinds[at],
      blinded: blinded[at],
      evaluated: evaluated[at],
    }));
    return {blinded, outputs: noble.ristretto255_oprf.voprf.finalizeBatch(items, publicKey, proof)};
  };
  const answer = (request) => compute(decode(request));

  const digest = (rows) => toHex(noble.sha512(joined(rows)));
  const check = (request, {blinded, outputs}) => {
    const asOurs = digest(blinded) === request.blinded_sha512 && digest(outputs) === request.outputs_sha512;
    if (!asOurs) throw new Error("this browser computed something else than our own program");
  };

  // ---- timing
  // Work is bounded by counts, not by time. A request of few elements is so short that several are timed together.
  const REPEATS = {few: {repeats: 11, together: 8}, many: {repeats: 9, together: 1}};
  const FEW = 10;
  const planOf = (request) => REPEATS[request.items.length <= FEW ? "few" : "many"];
  // A browser may let its clock tick coarsely, against tracking: a repeat must take many ticks.
  const LEAST_TICKS = 20;
  const MOST_READINGS = 1e6;
  const tickOf = (clock) => {
    const before = clock();
    let first = before;
    for (let reading = 0; reading < MOST_READINGS && first === before; reading++) first = clock();
    let second = first;
    for (let reading = 0; reading < MOST_READINGS && second === first; reading++) second = clock();
    return second - first;
  };
  const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  };

  /**
   * Measure every request.
   *
   * @param requests as report/device.py makes them
   * @param browser `clock()` in ms; `rest()`, a promise that lets the browser draw and react; `tell(done, of)` of
   *   progress
   * @returns for each request `{design, elements, repeats, together, median, low, high}`, ms for one request
   * @throws an Error, whose words are for the reader, if a result is not our program's, or the clock is too coarse
   */
  const measure = async (requests, {clock, rest, tell}) => {
    const of = requests.reduce((sum, request) => sum + planOf(request).repeats, 0);
    const tick = tickOf(clock);
    let done = 0;
    const measured = [];
    tell(done, of);
    await rest();
    // not counted: the browser compiles the code, and the library makes its tables
    check(requests[0], answer(requests[0]));
    for (const request of requests) {
      const decoded = decode(request);
      const {repeats, together} = planOf(request);
      const times = [];
      for (let repeat = 0; repeat < repeats; repeat++) {
        await rest();
        let last = null;
        const started = clock();
        for (let at = 0; at < together; at++) last = compute(decoded);
        const took = clock() - started;
        check(request, last);
        const isTimed = took > 0 && took >= LEAST_TICKS * tick;
        if (!isTimed) throw new Error("this browser\u2019s clock is too coarse to measure this");
        times.push(took / together);
        tell(++done, of);
      }
      measured.push({
        design: request.design,
        elements: request.items.length,
        repeats,
        together,
        median: median(times),
        low: Math.min(...times),
        high: Math.max(...times),
      });
    }
    return measured;
  };

  // ---- the button and its table
  const BROWSER = {
    clock: () => performance.now(),
    // two turns: after the first the browser has drawn
    rest: () => new Promise((resolve) => setTimeout(() => setTimeout(resolve, 0), 0)),
  };
  const NOT_YET = "not measured yet";
  // three digits, or whole milliseconds
  const digits = (ms) => (ms >= 100 ? String(Math.round(ms)) : String(Number(ms.toPrecision(3))));
  const timeSaid = ({median: middle, low, high, repeats}) =>
    `${digits(middle)} ms (${digits(low)} to ${digits(high)} ms in ${repeats} repeats)`;

  const element = (kind, attributes = {}, children = []) => {
    const made = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const linked = ({text, href}) => (href ? element("a", {class: "n", href}, [text]) : text);
  const COLUMNS = ["design", "elements in a request", "our figure", "JavaScript, this device"];
  const tableOf = (rows, found) => {
    const head = COLUMNS.map((name) => element("th", {scope: "col", role: "columnheader"}, [name]));
    const cell = (at, parts) => element("td", {role: "cell", "data-label": COLUMNS[at]}, parts);
    const body = rows.map(({request, name, ours}) =>
      element("tr", {role: "row"}, [
        element("th", {scope: "row", role: "rowheader"}, [name]),
        cell(1, [String(request.items.length)]),
        cell(2, [linked(ours)]),
        cell(3, [found.has(request.design) ? timeSaid(found.get(request.design)) : NOT_YET]),
      ]),
    );
    return element("table", {role: "table"}, [
      element("caption", {}, ["The device\u2019s steps for one picture"]),
      element("thead", {role: "rowgroup"}, [element("tr", {role: "row"}, head)]),
      element("tbody", {role: "rowgroup"}, body),
    ]);
  };

  // what is kept while the page around it is drawn again
  let panel = null;
  const makePanel = () => {
    const button = element("button", {type: "button"}, ["Measure on this device"]);
    const said = element("p", {role: "status"});
    const note = element("p");
    const region = {class: "scroll stack", role: "region", tabindex: "0", "aria-label": "Measured on this device"};
    const table = element("div", region);
    const root = element("div", {}, [button, said, table, note]);
    const made = {root, button, said, note, table, rows: [], found: new Map()};
    button.addEventListener("click", () => press(made));
    return made;
  };
  const press = async (made) => {
    const tell = (done, of) => {
      made.said.textContent = `Measuring: ${done} of ${of} repeats are done. Until the end the page reacts slowly.`;
    };
    made.button.disabled = true;
    try {
      const requests = made.rows.map(({request}) => request);
      const measured = await measure(requests, {...BROWSER, tell});
      made.found = new Map(measured.map((one) => [one.design, one]));
      made.said.textContent = "Measured. Every result was the one that our own program computed.";
    } catch (error) {
      made.found = new Map();
      made.said.textContent = `Not measured: ${error.message}.`;
    }
    made.button.disabled = false;
    made.table.replaceChildren(tableOf(made.rows, made.found));
  };

  /**
   * Draw the panel into a place, or move it there with what it has measured.
   *
   * @param place an element, or null if the page shows none now
   * @param rows for each request `{request, name, ours: {text, href}}`: what it is called, and our figure
   * @param words what stands below the table: where our figure is from
   */
  const show = (place, rows, words) => {
    if (!place) return;
    panel = panel || makePanel();
    panel.rows = rows;
    panel.note.textContent = words;
    panel.table.replaceChildren(tableOf(rows, panel.found));
    place.replaceChildren(panel.root);
  };

  return {answer, check, measure, tickOf, show};
})();
