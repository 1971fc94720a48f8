// A design in full: on its card, and beside another one.
//
// In:   a card of the view model.
// Out:  pairs of a name and what is known, drawn as a list or as a table of two columns.
const told = (words) => named("words", words);

const COSTS = {
  phone: ["Computing on the phone, for each picture", millisecondWords],
  up: ["Sent for each picture", bytesWords],
  down: ["Received for each picture", bytesWords],
  setup: ["Received to set up", bytesWords],
  servers: ["Processor cores of all servers, EU, busiest hour", coreWords],
  key: ["How long a key lasts at the EU\u2019s volume", secondsWords],
  opened: ["List opened by modified phones in a year", percentWords],
};

const costWords = (c, card, name) => {
  const key = fieldOf(card.cost, name);
  const found = key && evidenceOf(c, key);
  if (!found) return stateMark("not measured");
  const write = COSTS[name][1];
  const ends = interval(c, key, write);
  const why = hasValue(found) || !found.why ? "" : h` <small>${told(found.why)}</small>`;
  const caveat = name === "servers" && hasValue(found) ? keyCaveat(c, card) : "";
  const range = ends && found.low !== found.high ? h` <small>(${ends})</small>` : "";
  return h`${figure(c, key, write)}${range}${why}${caveat}`;
};

// A figure of a whole year takes a design's key to last; where the key is used up before, that is said beside it.
const YEAR_SECONDS = 365 * 86400;
const keyOf = (c, card) => evidenceOf(c, fieldOf(card.cost, "key"));
const isKeyShort = (c, card) => hasValue(keyOf(c, card)) && keyOf(c, card).value < YEAR_SECONDS;
const keyCaveat = (c, card) =>
  isKeyShort(c, card)
    ? h` <small class="caveat">as if its key lasted; it is used up after ${figure(
        c,
        card.cost.key,
        secondsWords,
      )}</small>`
    : "";

const foundWords = (c, card) => {
  const key = fieldOf(card.fates, "found");
  if (!key) return card.found_why ? told(card.found_why) : stateMark("not measured");
  const ends = interval(c, key, ofHundredWords);
  const moved = ends ? h`; ${ends} if two assumed shares change` : "";
  return h`${figure(c, key, ofHundredWords)} of 100 known files sent${moved}${keyCaveat(c, card)}`;
};

// "party: what; who would notice: whom (declared)", apart
const misuseParts = (words) => {
  const plain = withParties(words);
  const [what, rest = ""] = plain.split("; who would notice: ");
  const [notices, how = ""] = rest.split(/ \((?=declared\)|played\))/);
  return { what: capital(what), notices, how: how.replace(")", "") };
};
const misuseWords = (card) => {
  const { what, notices, how } = misuseParts(card.misuse);
  if (!notices) return told(what);
  const source = how === "played" ? "It was played." : "The design declares it.";
  return h`${told(what)}. <span class="soft">Who would notice: ${told(notices)}.${how ? ` ${source}` : ""}</span>`;
};

const holdingList = (card, shots) =>
  h`<ul class="holds">${card.tiles.map((one) => {
    const more = one.says.length
      ? h`<details><summary>all that it learns, as
declared</summary><ul>${one.says.map((words) => h`<li>${told(words)}</li>`)}</ul></details>`
      : "";
    const checked = one.checked ? "A check of this run looked for more." : "No check looked for more to its end.";
    return h`<li>${tile(one.holds, shots)}<span><b>${capital(partyWords(one.party))}:</b> ${told(one.holds)}.
<small>${checked}</small>${more}</span></li>`;
  })}</ul>`;

const ladderWords = (card) => {
  const level = `It acts ${card.level.charAt(0).toLowerCase()}${card.level.slice(1)}.`;
  return h`Option ${named("option", card.option)}.
${card.level === "For comparison" ? "It stands here for comparison." : level} ${
    card.stand_in ? h`What ran here stands in for the option: ${told(card.stand_in)}.` : ""
  }`;
};

// Names and values; the same for a card and for a comparison.
const triedFact = (c, card) => {
  if (!c.tried) return [];
  const trial = fieldOf(c.tried.answers, card.id);
  const words = trial?.how ?? fieldOf(c.tried.not_covered, card.id) ?? "It was not asked.";
  return [["How it answered in \u201ctry one\u201d", told(capital(words))]];
};

const cardFacts = (c, card, shots) => [
  ["How it works", h`${card.idea.map((words) => h`${told(words)} `)}`],
  ["Where it acts", ladderWords(card)],
  ["Of an innocent picture, they hold", holdingList(card, shots)],
  ["It finds", told(card.matches)],
  ["Found", foundWords(c, card)],
  ...Object.keys(COSTS).map((name) => [COSTS[name][0], costWords(c, card, name)]),
  ...triedFact(c, card),
  ["The worst misuse known", misuseWords(card)],
  ["Do all phones get one list?", told(card.one_list)],
  [
    "What this run found wrong",
    card.faults.length
      ? h`<ul class="faults">${card.faults.map((one) => h`<li>${told(one)}</li>`)}</ul>`
      : "No check that came to its end failed.",
  ],
  [
    "Not measured",
    card.missing.length
      ? h`<ul>${card.missing.map((one) => h`<li>${told(one)}</li>`)}</ul>`
      : "Nothing more than for every design.",
  ],
  [
    "Name in the program",
    h`<code>${named("design", card.id)}</code>, version ${named("design", card.version)}${
      card.page
        ? h`,
described in <code>${card.page}</code>`
        : ""
    }`,
  ],
];

const cardOf = (c, card) => {
  const pairs = cardFacts(c, card, chosenShot(c));
  return h`<div class="card"><dl>${pairs.map(([name, value]) => h`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
<p><button type="button" class="link" data-set="first" data-value="${card.id}" data-redraws="compare-body"
data-go="compare">compare
with another design</button></p></div>`;
};

// ---- two side by side
const designChoice = (c, name, label) =>
  h`<select id="${name}" aria-label="${label}" data-set="${name}" data-redraws="compare-body">${c.view.designs.map(
    (card) =>
      h`<option data-digits="option"
value="${card.id}"${flag("selected", card.id === c.state[name])}>${card.option} ${card.title}</option>`,
  )}</select>`;

const compareBody = (c) => {
  if (!c.view.designs.length) return "";
  const pair = ["first", "second"].map(
    (name) => c.view.designs.find((card) => card.id === c.state[name]) ?? c.view.designs[0],
  );
  const shots = chosenShot(c);
  const [one, other] = pair.map((card) => cardFacts(c, card, shots));
  return h`<div class="scroll" tabindex="0" role="region" aria-label="Two designs"><table
class="versus"><caption>Two designs side by side</caption>
<thead><tr><td></td><th scope="col">${designChoice(c, "first", "first design")}</th><th
scope="col">${designChoice(c, "second", "second design")}</th></tr></thead>
<tbody>${one.map(
    ([name, value], at) => h`<tr><th scope="row">${name}</th><td>${value}</td><td>${other[at][1]}</td></tr>`,
  )}</tbody></table></div>`;
};

const compareSection = (c) => {
  if (c.view.designs.length < 2) return "";
  return frame(c, {
    id: "compare",
    title: "Two designs side by side",
    note: "Choose two designs. All that the page knows of each stands in the same rows.",
    body: live(c, "compare-body", compareBody),
    source: "what the designs declare, and the run\u2019s figures.",
    level: 3,
  });
};
