// Errors by kind of picture: of the reference corpus, and of what designs were sent.
const sentByKind = (row, part, name) => {
  const one = (row[part] || []).find((each) => each.name === name);
  if (!one) return absent("");
  const words =
    one.found === null ? absent(one.share.why) : h`${one.found} of ${one.sent} ${soft(h`(${spread(one.share, "share")})`)}`;
  return opens(place(row.id, part, name), words, () =>
    evidence(h`${code(row)}: ${name}`, [
      ["row in results.json", h`rows, id <code>${row.id}</code>, <code>${part}</code>: ${json(one)}`],
      ["raw rows", rawRows(row, "pictures")],
    ]),
  );
};
const byDesign = (rows, part, caption) => {
  const names = unique(rows.flatMap((row) => (row[part] || []).map((one) => one.name)));
  const lines = rows.map((row) => [code(row), ...names.map((name) => sentByKind(row, part, name))]);
  return names.length ? table(caption, ["design", ...names], lines) : "";
};
// the reference corpus, kind by kind
const corpusCell = (one, name) => {
  const figure = one?.[name];
  if (!figure) return absent("");
  return opens(
    place("corpus", one.kind, String(one.within ?? ""), name),
    figure.value === null ? absent(figure.why) : interval(figure),
    () =>
      evidence(h`${one.kind}, reference corpus`, [
        ["value", figure.value === null ? absent(figure.why) : interval(figure)],
        ["of", figure.n === null ? "" : h`${number(figure.n)}`],
        ["listed", figure.pairs === null ? "" : number(Math.round(figure.pairs / figure.n))],
        ["note", figure.why],
        ["row in evidence.json", h`<code>${one.id}</code>, kind ${one.kind}, <code>${name}</code>: ${json(figure)}`],
        ["command", h`<code>blindmatch corpus evidence</code>`],
      ]),
  );
};
const extremes = (name, rows = kindsOfCorpus()) => {
  const of = (one) => (name === "pdq" ? corpus("recall").find((each) => each.kind === one.kind) : one)[name].value;
  const known = rows.filter((one) => of(one) !== null).sort((a, b) => of(a) - of(b)),
    last = known[known.length - 1];
  return h`${between(of(known[0]), of(last), percent)} (most: ${last.kind})`;
};
const corpusKinds = () => [
  para(
    h`No. Of the corpus\u2019s ${kindsOfCorpus().length} kinds the hash finds ${extremes("pdq")} of edited copies; of pictures of one package, ${extremes("item")} match one of another package. Groups of people were not told apart.`,
  ),
  fold("kinds-corpus", "Every kind of picture", table(
    "Errors by kind of picture",
    ["kind", "found, of copies", "flagged, of other packages\u2019 pictures", "near-duplicates left in"],
    kindsOfCorpus().map((one) => [
      one.kind,
      corpusCell(
        corpus("recall").find((each) => each.kind === one.kind),
        "pdq",
      ),
      corpusCell(one, "item"),
      corpusCell(one, "item_all"),
    ]),
    "short",
  )),
];
const kindsPart = () => {
  const rows = inOrder().filter((row) => row.recall_by_kind || row.false_by_kind);
  const own = glue(
    [
      byDesign(rows, "recall_by_kind", "Listed pictures found, by kind"),
      byDesign(rows, "false_by_kind", "Other pictures flagged, by kind"),
    ].filter(Boolean),
  );
  const body = [...corpusKinds(), ...(own ? [fold("kinds-designs", "The same by design", own)] : [])];
  return section("kinds", "Does it err alike for all kinds of picture?", body);
};
