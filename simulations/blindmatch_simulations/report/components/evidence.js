// Figures that open what they stand on.
//
// In:   the context `c` (view model, what the reader chose) and a key of `view.evidence`.
// Out:  a link with the figure, or with the state that it has in place of a figure; the card that it opens.
const EVIDENCE_STATES = {
  measured: "Counted or timed in a run, or in the committed evidence.",
  calculated: "Follows from measured and assumed figures by a formula.",
  assumed: "Chosen, with a source or without.",
  claimed: "Stated by others, and not measured here.",
  declared: "The design says so of itself.",
  "not measured": "It could be measured, and was not.",
  "not run": "The design was left out of the run, or did not come so far.",
  failed: "The design was run and failed.",
  "does not apply": "There is nothing to measure.",
};
const stateClass = (state) =>
  Object.hasOwn(EVIDENCE_STATES, state) ? `state-${state.replace(/ /g, "-")}` : "state-unknown";

const evidenceOf = (c, key) => fieldOf(c.view.evidence, key);
const hasValue = (found) => Boolean(found) && typeof found.value === "number";

// A state that stands where a figure would; each looks different, and none of them like zero.
const stateMark = (state) => h`<span class="state ${stateClass(state)}">${state}</span>`;

// A link that opens evidence; it flows within a sentence, and its address opens the same card.
const EVIDENCE_PLACE = "evidence:";
const opens = (key, kind, shown) =>
  h`<a class="${kind}" href="#${EVIDENCE_PLACE}${encodeURIComponent(key)}" data-evidence="${key}">${shown}</a>`;

// The figure that a key names, as `write` makes it; `over` says that it was measured over less than it is stated of.
const figure = (c, key, write) => {
  const found = evidenceOf(c, key);
  if (!found) return stateMark("not measured");
  const shown = hasValue(found) ? h`${found.at_least ? "over " : ""}${write(found.value)}` : stateMark(found.state);
  const kind = hasValue(found) ? `n ${stateClass(found.state)}` : "n bare";
  return opens(key, kind, shown);
};

// The ends of its interval, which open the same card.
const interval = (c, key, write) => {
  const found = evidenceOf(c, key);
  if (!hasValue(found) || found.low === null || found.high === null) return "";
  const ends = h`${write(found.low)} to ${write(found.high)}`;
  return opens(key, `n ${stateClass(found.state)}`, ends);
};

// A number stays on one line with its unit.
const LONGEST_UNBROKEN = 16;
const unbroken = (words) => (words.length > LONGEST_UNBROKEN ? words : words.replace(/ /g, NO_BREAK));

// A sentence of words and numbers.
const sentence = (c, parts) =>
  parts.map((part) => {
    if (typeof part === "string") return part;
    const state = stateClass(evidenceOf(c, part.evidence)?.state);
    return opens(part.evidence, `n ${state}`, unbroken(part.shown));
  });

const facts = (pairs) => {
  const rows = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return h`<dl>${rows.map(([name, value]) => h`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
};

const rawNumber = (value) => (typeof value === "number" ? withRawThousands(value) : "");
const withRawThousands = (value) => (Number.isInteger(value) ? withThousands(String(value)) : String(value));

// Which design a figure is of; nothing of one that is of no design alone.
const designOf = (c, key) => {
  const card = c.view.designs.find((one) =>
    [...Object.values(one.fates), ...Object.values(one.cost)].includes(key),
  );
  return card ? h`${card.title} (<code>${card.id}</code>)` : "";
};

// The runs that a figure is from: attacks were played in a run of their own.
const ATTACKS_FILE = "attacks.json";
const runsOf = (c, found) => {
  const isPlayed = found.source.length > 0 && found.source.every((one) => one.startsWith(ATTACKS_FILE));
  return isPlayed && c.view.attacks_run ? [c.view.attacks_run] : c.view.runs;
};

// What a figure opens.
const evidenceCard = (c, key) => {
  const found = evidenceOf(c, key);
  if (!found) return h`<h2 id="evidence-title">No evidence</h2><p>Nothing in this file has the key ${key}.</p>`;
  const ends = [found.low, found.high].filter((end) => typeof end === "number").map(String);
  const moreBy =
    "It grows with the list, and the longest list measured is shorter: the true figure is higher by an unknown amount.";
  return h`<h2 id="evidence-title">${found.title}</h2>${facts([
    ["design", designOf(c, key)],
    ["how it is known", h`${stateMark(found.state)} ${fieldOf(EVIDENCE_STATES, found.state)}`],
    ["value", hasValue(found) ? h`${plainNumber(found.value)} ${found.unit}` : ""],
    ["in the file", hasValue(found) ? h`<code>${rawNumber(found.value)}</code>` : ""],
    ["unit", hasValue(found) ? "" : found.unit],
    ["from, to", ends.join(" to ")],
    ["what these ends are", ends.length ? found.interval || "not stated" : ""],
    ["stands on", typeof found.n === "number" ? `${rawNumber(found.n)} pictures, sessions or runs` : ""],
    ["length of the list", typeof found.entries === "number" ? `${rawNumber(found.entries)} entries` : ""],
    ["at least", found.at_least ? moreBy : ""],
    ["disturbed", found.disturbed ? "Other work on the same machine moved this figure." : ""],
    ["why, or how", found.why],
    [
      "source",
      found.source.length ? h`<ul>${found.source.map((one) => h`<li><code>${one}</code></li>`)}</ul>` : "",
    ],
    [
      "run",
      runsOf(c, found).map((run) => h`<code>${run.digest.slice(0, 16)}</code> of ${run.made_at.slice(0, 10)} `),
    ],
    ["key", h`<code>${key}</code>`],
  ])}`;
};
