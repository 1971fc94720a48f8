// Of a hundred known files sent: one bar for each group of designs in which the same becomes of them.
//
// In:   `view.fates`, cards with keys of evidence, behaviours and the year's model; two shares that are chosen.
// Out:  bars, their title and their table. At the assumed shares every number opens its evidence; at others it
//       says that the reader chose them.
const FATE_KINDS = {
  video: "assumed",
  away: "away",
  modified: "assumed-too",
  unrecognised: "missed",
  held: "held",
  found: "found",
};
const fateKind = (fate) => fieldOf(FATE_KINDS, fate) ?? "missed";

const isMoved = (c) => {
  const base = c.view.year.base;
  if (!base) return false;
  return c.state.video !== Math.round(100 * base.video) || c.state.modified !== Math.round(100 * base.modified);
};

// By fate the value and the key of its evidence; null where it is not known.
const fatesOf = (c, card) => {
  if (!Object.keys(card.fates).length) return null;
  if (!isMoved(c)) {
    const rows = Object.keys(c.view.fates).map((fate) => [fate, fieldOf(card.fates, fate)]);
    return rows.map(([fate, key]) => ({ fate, key, value: evidenceOf(c, key)?.value ?? 0 }));
  }
  const behaviour = c.view.behaviours.find((one) => one.name === card.id);
  if (!behaviour) return null;
  const chosen = { video: c.state.video / 100, modified: c.state.modified / 100 };
  return Object.entries(c.year(behaviour, chosen)).map(([fate, value]) => ({ fate, key: "", value }));
};

const marksOf = ({ key }) => (key ? h` data-evidence="${key}"` : h` data-digits="chosen"`);
const fateFigure = (c, part) => {
  if (part.key) return figure(c, part.key, ofHundredWords);
  return h`<b data-digits="chosen">${ofHundredWords(part.value)}</b>`;
};

// Designs whose numbers look the same stand in one bar.
const hundredGroups = (c) => {
  const groups = new Map();
  for (const card of c.view.designs) {
    const parts = fatesOf(c, card);
    const shown = parts ? parts.map((one) => ofHundredWords(one.value)).join() : absentKind(card);
    const key = `${card.matches} ${shown}`;
    groups.set(key, { cards: [...(groups.get(key)?.cards ?? []), card], parts, matches: card.matches });
  }
  return [...groups.values()];
};
const absentKind = (card) => (card.matches === "nothing" ? "does not apply" : "not measured");

// ---- its title: what designs find that hold nothing back, by how they match
const hundredTitle = (c) => {
  const found = new Map();
  for (const { cards, parts, matches } of hundredGroups(c)) {
    if (!parts || parts.some((one) => one.fate === "held" && one.value >= 0.5)) continue;
    const one = parts.find((part) => part.fate === "found");
    if (one) found.set(matches, [...(found.get(matches) ?? []), { ...one, cards }]);
  }
  if (!found.size) return "What becomes of 100 known files was not calculated in this run";
  const saying = [...found].map(([matches, ones]) => {
    const ordered = [...ones].sort((a, b) => a.value - b.value);
    const least = ordered[0];
    const most = ordered[ordered.length - 1];
    const numbers =
      ofHundredWords(least.value) === ofHundredWords(most.value)
        ? fateFigure(c, least)
        : h`${fateFigure(c, least)} to ${fateFigure(c, most)}`;
    return h`designs that match ${matches} find about ${numbers}`;
  });
  return h`Of 100 known files sent, ${joined(saying, ", and ")}`;
};

const hundredNames = (group) => {
  const options = [...new Set(group.cards.map((card) => card.option))];
  return h`<span class="who"><b>${capital(group.matches === "nothing" ? "looks for nothing" : group.matches)}</b>
<small>${joined(options.map((one) => named("option", one)))}:
${group.cards.map((card) => card.title).join("; ")}</small></span>`;
};

const hundredBars = (c) => {
  const groups = hundredGroups(c);
  if (!groups.length) return h`<p class="absent">${stateMark("not run")} This run has no design with figures.</p>`;
  return h`<div class="stack">${groups.map((group) => {
    if (!group.parts) {
      const why = group.cards[0].found_why || "Its behaviour in the model of a year is not in this file.";
      return h`${hundredNames(group)}${wordsBar(h`${stateMark(absentKind(group.cards[0]))} ${told(why)}`)}`;
    }
    const parts = group.parts.map((part) => {
      const words = `${fieldOf(c.view.fates, part.fate) ?? part.fate}: ${ofHundredWords(part.value)}`;
      return { kind: fateKind(part.fate), value: part.value, words, marks: marksOf(part) };
    });
    return h`${hundredNames(group)}${stackedBar(parts, parts.map((one) => one.words).join(", "))}`;
  })}</div>`;
};

const hundredTable = (c) =>
  table(
    "What becomes of 100 known files sent",
    ["Design", ...Object.keys(c.view.fates).map((fate) => c.view.fates[fate])],
    c.view.designs.map((card) => {
      const parts = fatesOf(c, card);
      const fates = Object.keys(c.view.fates);
      if (!parts) return [card.title, ...fates.map(() => stateMark(absentKind(card)))];
      return [
        card.title,
        ...fates.map((fate) => fateFigure(c, parts.find((one) => one.fate === fate) ?? { value: 0 })),
      ];
    }),
  );

const ASSUMED_FATES = new Set(["video", "modified"]);
const hundredLegend = (c) =>
  h`<ul class="legend">${Object.entries(c.view.fates).map(
    ([fate, words]) =>
      h`<li><svg class="swatch" aria-hidden="true"><rect class="fill-${fateKind(fate)}" width="100%"
height="100%"/></svg>
${words}${ASSUMED_FATES.has(fate) ? " (assumed share)" : ""}</li>`,
  )}</ul>`;

const HUNDRED_PARTS = ["hundred-heading", "hundred-bars", "hundred-table", "video-says", "modified-says"];
const shareSays = (c, name) => h`<output data-digits="chosen">${c.state[name]}</output> of 100`;
const videoSays = (c) => shareSays(c, "video");
const modifiedSays = (c) => shareSays(c, "modified");

const hundredSliders = (c) => {
  const ends = c.view.year.ends;
  if (!ends || !c.view.behaviours.length)
    return h`<p class="absent">${stateMark("not run")} Without the model of a year the shares cannot be moved
here.</p>`;
  const one = (id, says, words) =>
    h`<div>${slider({
      id,
      label: h`${words}: ${liveWithin(c, `${id}-says`, says)} (assumed)`,
      low: Math.round(100 * ends[id].low),
      high: Math.round(100 * ends[id].high),
      step: 1,
      value: c.state[id],
      redraws: HUNDRED_PARTS,
    })}</div>`;
  return h`<div class="sliders">${one("video", videoSays, "Known files that are videos")}${one(
    "modified",
    modifiedSays,
    "Sent by clients that were changed so that they never ask",
  )}</div>`;
};

// Designs whose key is used up before the year that is calculated.
const keysThatEnd = (c) => {
  const cards = c.view.designs.filter((card) => fieldOf(card.fates, "found") && isKeyShort(c, card));
  if (!cards.length) return "";
  const each = cards.map((card) => h`\u201c${card.title}\u201d after ${figure(c, card.cost.key, secondsWords)}`);
  return h` ${cards.length === 1 ? "One design is" : h`${capital(countWords(cards.length))} designs are`} calculated as
if the key answered all year, though at this volume it is used up: ${joined(each, "; ")}.`;
};

// What the slider ends make of the most that is found.
const hundredEnds = (c) => {
  const cards = c.view.designs.filter(
    (card) => hasValue(evidenceOf(c, card.fates.found)) && evidenceOf(c, card.fates.found).low !== null,
  );
  if (!cards.length) return "";
  const widest = cards.reduce((one, other) => {
    const span = (card) => evidenceOf(c, card.fates.found).high - evidenceOf(c, card.fates.found).low;
    return span(other) > span(one) ? other : one;
  });
  return h` With both sliders at their ends, what \u201c${widest.title}\u201d finds goes from
${interval(c, widest.fates.found, ofHundredWords)} of 100.`;
};

const hundredSection = (c) =>
  frame(c, {
    id: "hundred",
    title: liveWithin(c, "hundred-heading", hundredTitle),
    note: h`A known file is one whose original is on the list. Hatched is assumed; a full colour is measured,
or calculated from what
was measured. No design here looks at videos.${hundredEnds(c)}${keysThatEnd(c)}
Moved sliders give point estimates; an interval
exists for the named
mix alone.`,
    body: h`${hundredSliders(c)}${hundredLegend(c)}${live(c, "hundred-bars", hundredBars)}`,
    table: live(c, "hundred-table", hundredTable),
    source: h`recall of each edit in the committed evidence; how often each edit is used, the share of videos
and the share of modified
clients are assumptions without a source.`,
  });
