// Which edits are survived: a small picture of each, with a bar for each way of matching.
//
// In:   `view.edits` with keys of evidence by way of matching; small pictures of the first tried one, if there are.
// Out:  the section. Ways that have the same figures for every edit, as they are written, share a bar.
const WAYS = [
  ["distance <= 31", "near copies", "found"],
  ["equal hash", "exact copies", "exact"],
];
const NEARLY_ALL = 0.9;
const HARDLY_ANY = 0.1;

const wayKey = (edit, way) => fieldOf(edit.found, way);
const knownWays = (c) =>
  WAYS.filter(([way]) => c.view.edits.some((edit) => hasValue(evidenceOf(c, wayKey(edit, way)))));

const editsTitle = (c) => {
  const ways = knownWays(c);
  if (!ways.length) return "How many copies are found after an edit was not measured in this run";
  const saying = ways.map(([way, words]) => {
    const values = c.view.edits
      .map((edit) => evidenceOf(c, wayKey(edit, way))?.value)
      .filter((one) => typeof one === "number");
    const most = values.filter((one) => one >= NEARLY_ALL).length;
    const few = values.filter((one) => one <= HARDLY_ANY).length;
    return h`${words} are nearly always found after ${counted(most)} of them and hardly ever after ${counted(few)}`;
  });
  return h`${capital(countWords(c.view.edits.length))} edits: ${joined(saying, "; ")}`;
};

const editTile = (c, edit, ways) => {
  const at = c.tried ? c.tried.edits.indexOf(edit.name) : -1;
  const shot = at < 0 ? null : fieldOf(c.tried.shots, c.tried.pictures[0].id)?.[at];
  const picture = shot ? h`<img src="${shot.picture}" alt="" loading="lazy"/>` : "";
  const bars = ways.map(([way, words, kind]) => {
    const key = wayKey(edit, way);
    if (!hasValue(evidenceOf(c, key)))
      return h`<div class="edit-bar">${key ? figure(c, key, percentWords) : stateMark("not measured")}</div>`;
    return h`<div class="edit-bar">${bar(c, key, {
      kind,
      label: `${words} after
${edit.note}`,
    })}${figure(c, key, wholePercent)}</div>`;
  });
  return h`<li>${picture}<b>${named("edit", edit.note)}</b>${bars}</li>`;
};
const wholePercent = (share) => (share > 0 && share < 0.005 ? "under 1 %" : `${Math.round(100 * share)} %`);

const editsTable = (c) => {
  const ways = [...new Set(c.view.edits.flatMap((edit) => Object.keys(edit.found)))];
  return table(
    "Copies found after each edit, by way of matching",
    ["Edit", "Share of the assumed mix", ...ways.map((way) => named("way", way))],
    c.view.edits.map((edit) => [
      named("edit", edit.note),
      figure(c, edit.mix, percentWords),
      ...ways.map((way) => {
        const key = wayKey(edit, way);
        return key
          ? h`${figure(c, key, percentWords)} <small>${interval(c, key, percentWords)}</small>`
          : stateMark("not measured");
      }),
    ]),
  );
};

const editsSection = (c) => {
  const ways = knownWays(c);
  const legend = h`<ul class="legend">${ways.map(
    ([, words, kind]) =>
      h`<li><svg class="swatch" aria-hidden="true"><rect class="fill-${kind}" width="100%"
height="100%"/></svg>${words}</li>`,
  )}</ul>`;
  return frame(c, {
    id: "edits",
    title: editsTitle(c),
    note: h`Nearly always means nine in ten or more, hardly ever one in ten or fewer. The thin line is the
interval for photographs of
another source. Every edit counts alike here, and people use them unevenly.`,
    body: h`${legend}<ul class="edits">${c.view.edits.map((edit) => editTile(c, edit, ways))}</ul>`,
    table: editsTable(c),
    source: "each edit of the photographs of the reference corpus, committed evidence.",
    level: 3,
  });
};
