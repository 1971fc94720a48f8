// All designs in one table, by level; with a tried picture, what becomes of it.
//
// In:   cards and failed designs of the view model; what is chosen in "try one".
// Out:  the section with the choice, the table and, below a row that is open, the design's card.
const NOT_A_LIKENESS = new Set([
  "the encrypted message",
  "that you sent a picture",
  "that somebody sent a picture",
  "nothing unless your account is opened",
  "nothing",
]);
const LIKENESSES = new Set(["its hash, which draws a likeness", "numbers that draw a finer likeness"]);

// Designs by the most that one party holds of an innocent picture.
const designsByHolding = (cards) => {
  const holds = (card, test) => card.tiles.some((one) => test(one.holds));
  const rest = (card, ...before) => before.every((test) => !holds(card, test));
  const isPicture = (one) => one === "the picture";
  const isLikeness = (one) => LIKENESSES.has(one);
  const isVoucher = (one) => one === "a sealed voucher";
  const isOther = (one) => !NOT_A_LIKENESS.has(one) && !isVoucher(one);
  return [
    ["an innocent picture itself", cards.filter((card) => holds(card, isPicture))],
    ["a likeness of one", cards.filter((card) => holds(card, isLikeness) && rest(card, isPicture))],
    [
      "a part of its hash, or the picture under a seal",
      cards.filter((card) => holds(card, isOther) && rest(card, isPicture, isLikeness)),
    ],
    [
      "a sealed voucher of one, which may open once several pictures match",
      cards.filter((card) => holds(card, isVoucher) && rest(card, isOther)),
    ],
    ["nothing of what it shows", cards.filter((card) => rest(card, isOther, isVoucher))],
  ].filter(([, found]) => found.length);
};
const glanceTitle = (c) => {
  if (!c.view.designs.length) return "No design of this run has figures";
  const looking = c.view.designs.filter((card) => card.matches !== "nothing");
  const groups = designsByHolding(looking).reverse();
  if (!groups.length) return "No design of this run looks for anything";
  const all = counted(looking.length);
  const parts = groups.map(([what, found], at) => {
    const who = what.startsWith("nothing")
      ? h`nobody gets anything of what an innocent picture shows`
      : h`somebody gets ${what}`;
    if (at) return h`with ${counted(found.length)} ${who}`;
    return h`By their own declarations, with ${counted(found.length)} of ${all} designs that look for something
${who}`;
  });
  return h`${joined(parts, "; ")}`;
};

// ---- the cells
const shownTiles = (tiles, shots, place) => {
  if (!tiles.length)
    return h`<span class="pair">${tile("nothing", null, `no ${place}`)}</span><span class="m">${`no
${place}`}</span>`;
  const words = tiles.map((one) => `${partyWords(one.party)}: ${holdsWords(one.holds)}`);
  return h`<span class="pair">${tiles.map((one, at) => tile(one.holds, shots, words[at]))}</span><span
class="m">${[...new Set(tiles.map((one) => holdsWords(one.holds)))].join("; ")}</span>`;
};
const centreTiles = (c, card, shots) => {
  const answer = answerOf(c, card);
  if (!isReported(answer)) return shownTiles(tilesByPlace(card).centre, shots, "centre");
  return shownTiles([{ party: "centre", holds: "the picture" }], shots, "centre");
};

const foundCell = (c, card) => {
  const key = fieldOf(card.fates, "found");
  if (key)
    return h`<span class="row-bar">${figure(c, key, ofHundredWords)}${bar(c, key, { of: 100 })}</span>${keyCaveat(
      c,
      card,
    )}`;
  return h`<span class="small">${absentFound(card)}</span>`;
};
// A design that looks for nothing has nothing to find; of the others it was not measured.
const absentFound = (card) => {
  const state = card.matches === "nothing" ? "does not apply" : "not measured";
  return h`<span title="${card.found_why}">${stateMark(state)}</span>`;
};

const costCell = (c, card, name) => {
  const key = fieldOf(card.cost, name);
  if (!key) return stateMark("not measured");
  const caveat = name === "servers" && hasValue(evidenceOf(c, key)) ? keyCaveat(c, card) : "";
  return h`${figure(c, key, COSTS[name][1])}${caveat}`;
};
const misuseCell = (card) => {
  const { what, notices } = misuseParts(card.misuse);
  return h`${told(what)}${notices ? h`<br/><span class="soft">noticed by: ${told(notices)}</span>` : ""}`;
};
const oneListCell = (card) => told(card.one_list.split(/[:;]/)[0].replace(/\.$/, ""));

// Each column: its head, the words that stand beside the cell on a phone, and the cell.
const columnsOf = (c, shots) => {
  const tried = c.tried ? [["This picture", "wide-label", (card) => answerPill(c, card)]] : [];
  return [
    ...tried,
    ["Provider", "tile-label", (card) => shownTiles(tilesByPlace(card).provider, shots, "provider")],
    ["Other servers", "tile-label", (card) => shownTiles(tilesByPlace(card).others, shots, "other server")],
    ["Centre", "tile-label", (card) => centreTiles(c, card, shots)],
    ["Found, of 100 known files sent", "wide-label", (card) => foundCell(c, card)],
    ["Phone, each picture", "label", (card) => costCell(c, card, "phone")],
    ["Sent, each picture", "label", (card) => costCell(c, card, "up")],
    ["Servers, EU", "label", (card) => costCell(c, card, "servers")],
    ["Worst misuse known", "wide-label misuse", misuseCell],
    ["One list for all?", "wide-label one-list", oneListCell],
  ];
};

// Of how many designs a check looked for more than they declare, and came to its end.
const checkedWords = (c) => {
  const looking = c.view.designs.filter((card) => card.matches !== "nothing");
  const checked = looking.filter((card) => card.tiles.length && card.tiles.every((one) => one.checked));
  if (!looking.length) return "";
  return h` A check that looks for more than a design declares came to its end, and found nothing, for
${counted(checked.length)} of the ${counted(looking.length)}.`;
};

// What the tiles are of: it follows what is chosen in "try one".
const tilesNote = (c) => {
  if (!c.tried || !c.state.listed)
    return h`The tiles show what each party gets when an innocent picture is sent and nobody cheats, as the design
declares it.`;
  return h`The original is on the list: where a design finds it, the column of the centre shows what a report brings
there. The other tiles are still those of an innocent picture; what else a match tells the parties is not drawn.`;
};

const designRow = (c, card, columns) => {
  const open = c.state.open === card.id;
  const id = idOf("row", card.id);
  const name = h`<button type="button" class="name" id="${id}" aria-expanded="${open}" data-set="open"
data-value="${card.id}"
data-toggles="" data-redraws="designs-table">${card.title}</button> <span
class="op">${named("option", card.option)}</span>${
    card.stand_in ? h`<span class="tag">stand-in for the option</span>` : ""
  }`;
  const cells = columns.map(
    ([head, kind, draws]) => h`<td role="cell" class="${kind}"><span class="lab">${head}</span>${draws(card)}</td>`,
  );
  const below = open
    ? h`<tr role="row" class="opened"><td role="cell" colspan="${columns.length + 1}">${cardOf(c, card)}</td></tr>`
    : "";
  return h`<tr role="row"><th role="rowheader" scope="row">${name}</th>${cells}</tr>${below}`;
};

const failedRow = (failed, columns) =>
  h`<tr role="row"><th role="rowheader" scope="row">${named("design", failed.id)}</th>
<td role="cell" class="wide-label" colspan="${columns.length}">${stateMark("failed")} ${told(failed.why)}</td></tr>`;

const byLevel = (cards) => {
  const levels = new Map();
  for (const card of cards) levels.set(card.level, [...(levels.get(card.level) ?? []), card]);
  return [...levels];
};

const designsTable = (c) => {
  const columns = columnsOf(c, chosenShot(c));
  const across = columns.length + 1;
  const levelHead = (level) =>
    h`<tr role="row" class="level"><th role="rowheader" scope="rowgroup" colspan="${across}">${level}</th></tr>`;
  const failed = c.view.failed.length
    ? h`<tbody role="rowgroup">${levelHead("In this run without figures")}${c.view.failed.map((one) =>
        failedRow(one, columns),
      )}</tbody>`
    : "";
  return h`<table class="glance${c.tried ? " tried" : ""}" role="table" aria-label="All designs"><thead
role="rowgroup"><tr role="row">
<th role="columnheader" scope="col">Design</th>${columns.map(
    ([head]) => h`<th role="columnheader"
scope="col">${head}</th>`,
  )}</tr></thead>
${byLevel(c.view.designs).map(
  ([level, cards]) =>
    h`<tbody role="rowgroup">${levelHead(level)}${cards.map((card) => designRow(c, card, columns))}</tbody>`,
)}${failed}</table>`;
};

const glanceSection = (c) =>
  frame(c, {
    id: "designs",
    title: glanceTitle(c),
    note: h`One row for each design, in the order of the expert process; a name opens its card.
${liveWithin(c, "tiles-note", tilesNote)}${checkedWords(c)} What a party can get by cheating stands under
\u201cworst misuse known\u201d.`,
    body: h`${tryChoice(c)}${tileLegend(holdsOf(c.view.designs), chosenShot(c))}${live(
      c,
      "designs-table",
      designsTable,
    )}`,
    source: h`what the designs declare; the run\u2019s figures; the model of a year for what is found and for
servers. The thin line
over a bar shows where two assumed shares alone move it.`,
  });
