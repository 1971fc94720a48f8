// What is missed: recall by edit, designs that match alike together.
const interval = (figure) => h`${percent(figure.value)}${spread(figure, "share") ? h` (${spread(figure, "share")})` : ""}`;
const editOf = (row, name) => {
  const way = wayOf(row);
  return way && corpus("edit").find((one) => one.designs === way.designs && one.edit === name)?.found;
};
const recallEvidence = (rows, by, name) => () => {
  const figure = by === "recall_by_edit" && editOf(rows[0], name);
  return evidence(
    h`${name}: listed pictures found`,
    [
      figure
        ? ["reference corpus", h`${countOf(figure)} photographs, ${interval(figure)}; evidence.json, <code>evidence/edit</code>`]
        : null,
    ].concat(
      rows.map((row) => {
        const one = row[by].find((each) => each.name === name),
          share = one.share;
        return [
          h`${code(row)}, this run`,
          h`${share.value === null ? h`${absent(share.why)} ${share.why}` : h`${one.found} of ${one.sent}, ${interval(share)}`}; rows, id <code>${row.id}</code>, <code>${by}</code>; ${rawRows(row, "pictures")}`,
        ];
      }),
    ),
  );
};
const meter = (found, sent) =>
  h`<svg class="meter" aria-hidden="true" viewBox="0 0 100 1" preserveAspectRatio="none"><rect width="${sent ? Math.round((100 * found) / sent) : 0}" height="1"/></svg>`;
// letters of which an edit's words are the same stand together
const editCells = (groups, name) => {
  const known = groups.map((rows, at) => {
    const one = rows[0].recall_by_edit.find((each) => each.name === name),
      figure = editOf(rows[0], name) || one.share,
      own = figure === one.share;
    if (own && !one.sent) return null;
    const words = figure.value === null ? absent(figure.why) : own ? h`${one.found}/${one.sent}` : percent(figure.value);
    return {rows, letter: LETTERS[at], figure, words};
  });
  return groupsBy(known.filter(Boolean), (one) => saying(one.words)).map((same) => {
    const [{rows, figure, words}] = same,
      every = same.flatMap((one) => one.rows);
    return h`<li><b>${same.map((one) => one.letter).join("")}</b> ${figure.value === null ? "" : meter(figure.value, 1)} ${opens(place("edit", name, rows[0].id), words, recallEvidence(every, "recall_by_edit", name))}</li>`;
  });
};
const editCard = (groups, name) => {
  const known = now.sources.edits[name] || {note: "", picture: ""};
  const picture = known.picture ? h`<img src="${known.picture}" alt="${known.note}" width="96" height="72"/>` : "";
  return h`<li class="edit" title="${known.note}">${picture}<b>${name}</b><ul>${editCells(groups, name)}</ul></li>`;
};
// ---- paired differences between ways to match: of all copies, of PDQ's own pairs, of those beyond 24 bits
const MEASURES = [
  ["recall", "found", "of all copies"],
  ["recall_pairs", "of_pdq", "of PDQ\u2019s own pairs"],
  ["corpus_recall_far", "beyond_24", "of those beyond 24 bits"],
];
const resolved = (figure) => figure.low > 0 || figure.high < 0;
const differences = (groups) => {
  const letter = (designs) => LETTERS[groups.findIndex((rows) => wayOf(rows[0])?.designs === designs)];
  return corpus("difference")
    .map((one) => ({...one, names: [letter(one.first), letter(one.second)]}))
    .filter((one) => one.names.every(Boolean));
};
const saidDifference = (one, of) => {
  const figure = one[of],
    needed = one[`${of}_needed`];
  const points = (v) => (v < 0 ? "\u2212" : "") + number(Number(Math.abs(100 * v).toPrecision(3)));
  const words = `${points(figure.value)} (${between(figure.low, figure.high, points)})`;
  if (resolved(figure)) return words;
  return `${words}, not resolved${needed?.value == null ? "" : `; ${number(needed.value)} needed`}`;
};
const differenceCell = (one, of) => {
  const figure = one[of],
    needed = one[`${of}_needed`];
  return opens(
    place("difference", one.names.join(""), of),
    saidDifference(one, of),
    () =>
      evidence(h`${one.names[0]} and ${one.names[1]}: difference, percentage points`, [
        [one.names[0], h`<code>${one.first}</code>`],
        [one.names[1], h`<code>${one.second}</code>`],
        ["how", figure.why],
        ["pictures that would resolve it", !needed ? "" : h`${needed.value === null ? absent("") : number(needed.value)}: ${needed.why}`],
        ["row in evidence.json", h`<code>evidence/difference</code>, <code>${of}</code>: ${json(figure)}`],
        ["command", h`<code>blindmatch corpus evidence</code>`],
      ]),
  );
};
const differencesPart = (groups) => {
  const found = differences(groups),
    each = found.flatMap((one) => MEASURES.map(([, of]) => one[of]));
  if (!found.length) return "";
  const without = groups.filter((rows) => !wayOf(rows[0])).map(named);
  const count = opens("resolved", h`${each.filter(resolved).length} of ${each.length}`, () =>
    evidence("Resolved", [["what it is", "the 95 % interval of the paired difference leaves out 0; packages are drawn again, then photographs"]]),
  );
  return fold(
    "differences",
    `Differences between letters, on the corpus\u2019s copies: ${each.filter(resolved).length} of ${each.length} are more than chance`,
    [
      para(h`${count} are more than chance, on the same copies, of which each edit counts alike: of real traffic they say nothing.`),
      table(
        "Percentage points that the first finds more of",
        ["pair", ...MEASURES.map(([, , words]) => words)],
        found.map((one) => [one.names.join(" \u2212 "), ...MEASURES.map(([, of]) => differenceCell(one, of))]),
        "short",
      ),
      without.length ? para(h`Not compared, since the corpus has no figure of them: ${glue(without, "; ")}.`) : "",
    ],
  );
};
// what edits of which the corpus's copies are found by no design of this run
const foundByNone = () => {
  const rows = inOrder().filter(wayOf);
  return rows.length ? rows[0].recall_by_edit.filter(({name}) => rows.every((row) => editOf(row, name)?.value === 0)).map(({name}) => now.sources.edits[name]?.note || name) : [];
};
const outcomes = (row) => JSON.stringify(row.recall_by_edit.map((one) => [one.name, one.found, one.sent]));
// designs by how they match: each has its letter
const ways = () =>
  groupsBy(
    inOrder().filter((row) => row.design.relation !== "category" && row.recall_by_edit.some((one) => one.found !== null)),
    (row) => wayOf(row)?.designs ?? outcomes(row),
  );
const opensFrom_ = (row) => String(opensFrom(row)) !== "";
// copies of a picture hang together: of so few pictures a count without its interval says too much
const ofRun = (row) => {
  const figure = figureOf(row, "recall"),
    range = ofFewer(row, "recall", figure) ? "no share" : spread(figure, "share");
  return range ? ` (${range})` : "";
};
const missedPart = () => {
  const groups = ways(),
    rows = inOrder().filter((row) => groups.some((each) => each.includes(row)));
  if (!rows.length) return section("missed", "What is missed?", para("Not measured."));
  const plan = now.run.options.pictures,
    whole = corpus("edit")[0].found.n;
  const key = table(
    "Missed and found, by how designs match",
    ["designs that match alike", "missed", "of near copies (31 of 256 bits) found, each edit alike"],
    groups.map((each, at) => [
      h`<b>${LETTERS[at]}</b> ${named(each)}${each.some(opensFrom_) ? h` ${soft("(with threshold: not recognised; what is recognised opens from the threshold on)")}` : ""}`,
      missedShare(each[0]),
      figFull(each[0], best(each[0], "recall_pairs")),
    ]),
  );
  const cards = glue(rows[0].recall_by_edit.map((one) => editCard(groups, one.name)));
  const table_ = (by, head) =>
    table(
      h`Found in this run, by ${head}`,
      [head, ...rows.map(code)],
      rows[0][by].map((one) => [
        one.name,
        ...rows.map((row) => {
          const own = row[by].find((each) => each.name === one.name);
          return opens(
            place(by === "recall_by_edit" ? "edit" : "distance", one.name, row.id),
            own && own.found !== null ? h`${own.found} of ${own.sent}` : absent(own?.share.why || ""),
            recallEvidence([row], by, one.name),
          );
        }),
      ]),
    );
  return section(
    "missed",
    "What is missed?",
    para(
      groups.some((each) => wayOf(each[0]))
        ? h`Of ${number(whole)} photographs of the corpus with ${unique(corpus("edit").map((one) => one.edit)).length} edits each, by their ${term("perceptual hash", "hashes")}; this run sent ${plan.listed} with ${rows[0].recall_by_edit.length} of these edits, which alone are shown one by one.`
        : h`${plan.listed} listed photographs were sent with every edit; designs of equal outcomes share a letter. New material is on no list.`,
    ),
    key,
    differencesPart(groups),
    fold("edits", "Every edit, with a picture of it", h`<ul class="edits">${cards}</ul>`),
    fold("missed-tables", "By design, edit and distance", [
      table(
        "Found, by design, each edit alike",
        ["design", ...MEASURES.map(([, , words]) => words), "in this run; whose outcomes are not as hashes say"],
        rows.map((row) => [
          h`${code(row)}${opensFrom_(row) ? h`${soft(", recognised;")}${opensFrom(row)}` : ""}`,
          ...MEASURES.map(([name]) => figFull(row, best(row, name))),
          fig(row, "recall", valueOf(row, "recall") === null ? null : h`${countOf(figureOf(row, "recall"))}${ofRun(row)}, ${asHashes(row)}`),
        ]),
      ),
      table(
        "Found in the reference corpus, by edit",
        ["edit", ...groups.map((_, at) => LETTERS[at])],
        rows[0].recall_by_edit.map(({name}) => [
          name,
          ...groups.map((each) => {
            const figure = editOf(each[0], name);
            return opens(
              place("corpus-edit", name, each[0].id),
              figure ? interval(figure) : absent(""),
              recallEvidence(each, "recall_by_edit", name),
            );
          }),
        ]),
      ),
      table_("recall_by_edit", "edit"),
      table_("recall_by_distance", "bits of 256 that the edit changed"),
    ]),
  );
};
