// Errors by kind of picture: what the hash itself makes of them, no design asked; where the run has it.
const kindFigure = (one, at, name, figure = one[name], show = percent) => {
  const range = figure.low === null ? "" : h` ${soft(h`(${between(figure.low, figure.high, show)})`)}`;
  const words = figure.value === null ? absent(figure.why) : h`${show(figure.value)}${range}`;
  return opens(place("kind", one.kind, one.origin, name), words, () =>
    evidence(h`${one.kind}, ${one.origin}: ${name.replace(/_/g, " ")}`, [
      ["value", words],
      [
        "behind it",
        figure.n === null ? "" : h`${number(figure.n)}${figure.pairs === null ? "" : h`, ${number(figure.pairs)} pairs`}`,
      ],
      ["note", figure.why],
      ["pictures", h`${number(one.pictures)}, ${one.packages.join(", ") || "generated"}`],
      ["row in results.json", h`<code>kinds</code>, ${at}, <code>${name}</code>: ${json(figure)}`],
    ]),
  );
};
const kindName = (one) => h`${one.kind} ${soft(one.packages.join(", ") || one.origin)}`;
const modelled = (log) => power((10 ** log).toExponential(1));
const kindRow = (one, at) => [
  kindName(one),
  kindFigure(one, at, "recall"),
  kindFigure(one, at, "poor"),
  kindFigure(one, at, "false_matches"),
  kindFigure(one, at, "tail", one.tail, modelled),
];
const sentByKind = (row, part, name) => {
  const one = (row[part] || []).find((each) => each.name === name);
  if (!one) return absent("");
  const words =
    one.found === null ? absent(one.share.why) : h`${one.found} of ${one.sent} ${soft(h`(${spread(one.share, "share")})`)}`;
  return opens(place(row.id, part, name), words, () =>
    evidence(h`${code(row)}: ${name}`, [
      ["row in results.json", h`rows, id ${code(row)}, <code>${part}</code>: ${json(one)}`],
      ["raw rows", rawRows(row, "pictures")],
    ]),
  );
};
const byDesign = (rows, part, caption) => {
  const names = unique(rows.flatMap((row) => (row[part] || []).map((one) => one.name)));
  const lines = rows.map((row) => [code(row), ...names.map((name) => sentByKind(row, part, name))]);
  return names.length ? table(caption, ["design", ...names], lines) : "";
};
const hashKinds = (kinds) => {
  if (!kinds.length) return [];
  const cell = (one, at, edit) => kindFigure(one, at, `recall, ${edit}`, one.recall_by_edit[edit]);
  const byEdit = Object.keys(kinds[0].recall_by_edit).map((edit) => [edit, ...kinds.map((one, at) => cell(one, at, edit))]);
  const head = [
    "kind",
    "found, of edited",
    "too poor to compare",
    "different pictures that match",
    "the same by a model, not measured",
  ];
  return [
    para(
      h`What the ${term("perceptual hash")} itself makes of each kind, no design asked; intervals are over pictures. Generated kinds have the layout of their kind and nothing of its variety. Groups of people were not told apart.`,
    ),
    table("Errors by kind of picture", head, kinds.map(kindRow)),
    fold("kinds-edits", "Found, by edit and kind", table("Found, by edit and kind", ["edit", ...kinds.map(kindName)], byEdit)),
  ];
};
const kindsPart = () => {
  const rows = inOrder().filter((row) => row.recall_by_kind || row.false_by_kind);
  const own = glue(
    [
      byDesign(rows, "recall_by_kind", "Listed pictures found, by kind"),
      byDesign(rows, "false_by_kind", "Other pictures flagged, by kind"),
    ].filter(Boolean),
  );
  const body = [...hashKinds(now.run.kinds || []), ...(own ? [fold("kinds-designs", "The same by design", own)] : [])];
  return body.length && section("kinds", "Does it err alike for all kinds of picture?", body);
};
