// What is missed: recall by edit, designs with the same outcomes together.
const recallEvidence = (rows, by, name) => () =>
  evidence(
    h`${name}: listed pictures found`,
    rows.map((row) => {
      const one = row[by].find((each) => each.name === name),
        share = one.share;
      return [
        row.id,
        h`${share.value === null ? h`${absent(share.why)} ${share.why}` : h`${one.found} of ${one.sent}, ${percent(share.value)} (${spread(share, "share")})`}; rows, id ${code(row)}, <code>${by}</code>; ${rawRows(row, "pictures")}`,
      ];
    }),
  );
const meter = (found, sent) =>
  h`<svg class="meter" aria-hidden="true" viewBox="0 0 100 1" preserveAspectRatio="none"><rect width="${sent ? Math.round((100 * found) / sent) : 0}" height="1"/></svg>`;
const groupCell = (rows, at, by, name) => {
  const one = rows[0][by].find((each) => each.name === name),
    where = place(by === "recall_by_edit" ? "edit" : "distance", name, rows[0].id);
  const words = one.found === null ? absent(one.share.why) : h`${one.found}/${one.sent}`;
  return one.sent === 0
    ? ""
    : h`<li><b>${LETTERS[at]}</b> ${one.sent && one.found !== null ? meter(one.found, one.sent) : ""} ${opens(where, words, recallEvidence(rows, by, name))}</li>`;
};
const editCard = (groups, name) => {
  const known = now.sources.edits[name] || {note: "", picture: ""};
  const picture = known.picture ? h`<img src="${known.picture}" alt="${known.note}" width="96" height="72"/>` : "";
  return h`<li class="edit" title="${known.note}">${picture}<b>${name}</b><ul>${glue(groups.map((rows, at) => groupCell(rows, at, "recall_by_edit", name)))}</ul></li>`;
};
// what the committed reference corpus says of designs, if the run's rows have it: a line for those with equal figures,
// named, but for the most of those that match alike, if each of these has a line
const ofCorpus = (rows, names, words, line) => {
  const held = rows.filter((row) => valueOf(row, names[0]) !== null);
  const groups = groupsBy(held, (row) => JSON.stringify(names.map((name) => valueOf(row, name))));
  const who = (each) => {
    const {relation} = each[0].design,
      alike = rows.filter((row) => row.design.relation === relation);
    if (alike.some((row) => !held.includes(row)) || 2 * each.length <= alike.length) return named(each);
    return h`${each.length < alike.length ? "other " : ""}${RELATIONS[relation]}`;
  };
  return groups.length
    ? [
        para(h`<b>Committed evidence</b>${words}`),
        list(groups.map((each) => h`${line(each[0])}: ${who(each)}`)),
      ]
    : "";
};
const outcomes = (row) => JSON.stringify(row.recall_by_edit.map((one) => [one.name, one.found, one.sent]));
const missedPart = () => {
  const rows = inOrder().filter(
    (row) => row.design.relation !== "category" && row.recall_by_edit.some((one) => one.found !== null),
  );
  if (!rows.length) return section("missed", "What is missed?", para("Not measured."));
  const groups = groupsBy(rows, outcomes),
    plan = now.run.options.pictures;
  const key = list(
    groups.map(
      (each, at) =>
        h`<b>${LETTERS[at]}</b> ${named(each)}: missed ${missed(each[0])}; of ${term("PDQ")}'s own pairs found ${figFull(each[0], "recall_pairs")}`,
    ),
  );
  const recalls = ["corpus_recall", "corpus_recall_pairs", "corpus_recall_far"];
  const cards = glue(rows[0].recall_by_edit.map((one) => editCard(groups, one.name)));
  const table_ = (by, head) =>
    table(
      h`Found, by ${head}`,
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
      h`${plan.listed} listed photographs were sent with every edit below; designs of equal outcomes share a letter.`,
    ),
    key,
    ofCorpus(rows, recalls, ", the reference corpus: found of copies", (row) => figFull(row, recalls[0])),
    h`<ul class="edits">${cards}</ul>`,
    para(
      "Edits of one photograph hang together: true uncertainty is larger. New material is on no list: nothing here finds it.",
    ),
    fold("missed-tables", "Every design, by edit and by how far the edit moved the hash", [
      table_("recall_by_edit", "edit"),
      table_("recall_by_distance", "bits of 256 that the edit changed"),
      table(
        "Committed evidence: found in the reference corpus",
        ["design", "of all copies", "of PDQ's own pairs", "of those beyond 24 bits"],
        rows.map((row) => [code(row), ...recalls.map((name) => figFull(row, name))]),
      ),
    ]),
  );
};
