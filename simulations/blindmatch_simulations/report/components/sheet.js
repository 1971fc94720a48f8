// The decision sheet: the findings, all designs and what is not measured, on two printed A4 pages.
//
// In:   the context, which has the view model; its own styles are in `sheet.css`.
// Out:  markup of the content and of the foot. Its parts are those of the findings page, laid out for paper.

// ---- who holds what of an innocent picture: provider, other servers, centre, each in its place
const heldBy = (place, tiles) => {
  const drawn = tiles.map((one) => tile(one.holds, null, `${partyWords(one.party)}: ${holdsWords(one.holds)}`));
  return h`<span class="pair ${place}">${drawn.length ? drawn : h`<span class="soft">\u2013</span>`}</span>`;
};
const sheetHolds = (card) =>
  h`<span class="held">${Object.entries(tilesByPlace(card)).map(([place, tiles]) => heldBy(place, tiles))}</span>`;

// ---- whether outsiders can check that all devices get one list: in short in a row, in full below the table
const listNotes = (c) => {
  const notes = new Map();
  for (const card of c.view.designs) notes.set(card.one_list, [...(notes.get(card.one_list) ?? []), card]);
  return [...notes].filter(([words, cards]) => words.replace(/\.$/, "") !== shortOneList(cards[0]));
};
const shortOneList = (card) => card.one_list.split(/[,:;]/)[0].replace(/\.$/, "");
const listNote = (c) => {
  const notes = listNotes(c);
  if (!notes.length) return "";
  const all = notes.map(([words, cards]) => {
    const whom = cards.length > 1 ? h`${counted(cards.length)} designs` : h`\u201c${cards[0].title}\u201d`;
    return h`${told(words)} This is so of ${whom}. `;
  });
  return h`<p><b>One list for all, in full.</b> ${all}</p>`;
};

// ---- figures of a whole year, of a design whose key does not last as long
const shortKeySign = (c, card) => (isKeyShort(c, card) ? "\u2021" : "");
const shortKeyNote = (c) => {
  const keys = c.view.designs.filter((card) => isKeyShort(c, card)).map((card) => card.cost.key);
  if (!keys.length) return "";
  const lives = [...new Map(keys.map((key) => [evidenceOf(c, key).value, key])).values()];
  return h` What is marked \u2021 is calculated as if the design\u2019s key answered all year; at that volume it is used
up after ${joined(
    lives.map((key) => figure(c, key, secondsWords)),
    " or ",
  )}.`;
};

// ---- the table
const sheetFound = (c, card) => {
  const key = fieldOf(card.fates, "found");
  if (!key) return absentFound(card);
  const ends = interval(c, key, ofHundredWords);
  const sign = hasValue(evidenceOf(c, key)) ? shortKeySign(c, card) : "";
  return h`${figure(c, key, ofHundredWords)}${sign}${ends ? h`<br/>${ends}` : ""}`;
};
const sheetData = (c, card) => {
  const states = ["up", "down"].map((name) => evidenceOf(c, fieldOf(card.cost, name)));
  // one state for both stands once
  if (states.every((found) => !hasValue(found) && found?.state === states[0]?.state))
    return costCell(c, card, "up");
  return h`${costCell(c, card, "up")}<br/>${costCell(c, card, "down")}`;
};
const sheetServers = (c, card) => {
  const key = fieldOf(card.cost, "servers");
  if (!key) return stateMark("not measured");
  return h`${figure(c, key, plainNumber)}${hasValue(evidenceOf(c, key)) ? shortKeySign(c, card) : ""}`;
};

// Each column: its head, the class of its cells, and what stands in the row of a design.
const SHEET_COLUMNS = [
  ["Provider, other servers, centre get", "", (c, card) => sheetHolds(card)],
  ["Found, of 100 known files", "", sheetFound],
  ["Phone, each picture", "", (c, card) => costCell(c, card, "phone")],
  ["Data, sent and received", "", sheetData],
  ["Server cores, EU", "", sheetServers],
  ["Worst misuse known, and who would notice", "misuse", (c, card) => misuseCell(card)],
  ["One list for all", "", (c, card) => told(shortOneList(card))],
];

const sheetRow = (c, card) =>
  h`<tr><th scope="row">${card.title} <span class="code">${named("option", card.option)}
<code>${named("design", card.id)}</code>${card.stand_in ? "\u2020" : ""}</span></th>${SHEET_COLUMNS.map(
    ([, kind, draws]) => h`<td class="${kind}">${draws(c, card)}</td>`,
  )}</tr>`;

const sheetLevel = (words, rows) =>
  h`<tbody><tr class="level"><th scope="rowgroup" colspan="${
    SHEET_COLUMNS.length + 1
  }">${words}</th></tr>${rows}</tbody>`;

const sheetTable = (c) => {
  const failed = c.view.failed.map(
    (one) =>
      h`<tr><th scope="row"><code>${named("design", one.id)}</code></th><td
colspan="${SHEET_COLUMNS.length}">${stateMark("failed")} ${told(one.why)}</td></tr>`,
  );
  return h`<div class="scroll" tabindex="0" role="region" aria-label="All designs"><table>
<thead><tr><th scope="col">Design</th>${SHEET_COLUMNS.map(([head]) => h`<th scope="col">${head}</th>`)}</tr></thead>
${byLevel(c.view.designs).map(([level, cards]) =>
  sheetLevel(
    level,
    cards.map((card) => sheetRow(c, card)),
  ),
)}${failed.length ? sheetLevel("In this run without figures", failed) : ""}</table></div>`;
};

// ---- its parts
const sheetFindings = (c) =>
  h`<section class="view" id="findings" aria-labelledby="question"><h1 id="question">${QUESTION}</h1>
<p class="lead">${leadWords(c)}</p>${c.view.findings.map((one) => findingOf(c, one))}</section>`;

const sheetUnmeasured = (c) =>
  h`<section class="view notes" id="unmeasured" aria-labelledby="unmeasured-title"><h2
id="unmeasured-title">What nobody has measured here</h2><ul>${c.view.unmeasured.map(
    (one) => h`<li>${told(withoutBrackets(one))}</li>`,
  )}</ul><p class="note">There is no real list, and one computer stood for phones and data
centres. What is missing of one design alone stands on its card in findings.html.${
    c.view.attacks_failed.length
      ? h` Attacks that crashed, so that nothing is known of them: ${told(c.view.attacks_failed.join("; "))}.`
      : ""
  }</p></section>`;

const sheetReading = (c) =>
  h`<section class="view notes" id="reading" aria-labelledby="reading-title"><h2 id="reading-title">How to read
the table of designs</h2><p>Found are of ${named("words", "100")} known files sent; below stand the ends between
which two assumed shares alone move it. Data are for each picture, sent above received. Cores are of all servers in
the busiest hour, at the EU\u2019s volume. \u201cOver\u201d means at least so much: the figure grows with the list by
an amount that nobody measured. A symbol shows what a party gets, by the design\u2019s own declaration, when an
innocent picture is sent and nobody cheats; a dash, that there is no such party.${
    c.view.designs.some((card) => card.stand_in)
      ? " What is marked \u2020 stands in for its option; findings.html says how it differs."
      : ""
  }${shortKeyNote(c)} Designs stand in the order of the expert process; nothing is ranked.</p>
<p>${absentWords()}</p>${listNote(c)}</section>`;

const sheetDesigns = (c) =>
  h`<section class="view" id="designs" aria-labelledby="designs-title"><h2
id="designs-title">${glanceTitle(c)}</h2>${tileLegend(holdsOf(c.view.designs), null)}${sheetTable(c)}</section>`;

const sheetRun = (c) =>
  h`<section class="view notes" id="run" aria-labelledby="run-title"><h2 id="run-title">The run</h2>${runInFull(c)}
<p>In sheet.html and in findings.html each figure opens what it stands on.</p></section>`;

const SHEET = [sheetFindings, sheetUnmeasured, sheetReading, sheetRun, sheetDesigns];
const drawnSheet = (c) => h`${SHEET.map((part) => part(c))}`;
