// What is flagged wrongly: measured, modelled, and in the literature.
const reportsRow = (name, recall, rate, estimate = true) => {
  const f = flood(recall, rate),
    words = (v, show = number) =>
      v[1] === v[2] || !estimate ? between(v[1], v[2], show) : h`${show(v[0])} ${soft(h`(${between(v[1], v[2], show)})`)}`;
  const where = place("flood", wordsOf(name));
  const held = () =>
    evidence("Reports a day", [
      ["photos a day; share listed", h`${number(given("volume"))}; ${number(given("prevalence"))}`],
      ["found, with its interval", words(recall, percent)],
      ["flagged wrongly, of each picture, with its interval", words(rate)],
      ["how", "photos times share listed times found; the rest times the rate; minutes of review over a working day"],
    ]);
  return [
    name,
    ...[words(f.right), words(f.missed), words(f.wrong), words(f.share, percent), words(f.people)].map((one, at) =>
      opens(h`${where}.${at}`, one, held),
    ),
  ];
};
const pairsRow = (one, at) => {
  const near = one.histogram.slice(0, 32).reduce((a, b) => a + b, 0);
  return [
    h`${one.kind} ${soft(one.packages.join(", "))}`,
    opens(place("pairs", String(at)), h`${number(near)} of ${number(one.pairs)} pairs`, () =>
      evidence(h`Different pictures: ${one.kind}`, [
        ["pictures", number(one.pictures)],
        ["pairs within 31 bits", h`${number(near)} of ${number(one.pairs)}`],
        [
          "row in results.json",
          h`<code>distances</code>, ${at}: pairs by distance ${json(one.histogram.map((n, d) => [d, n]).filter((each) => each[1]))}`,
        ],
      ]),
    ),
  ];
};
const outsideValue = (one) =>
  one.values
    ? glue(
        Object.entries(one.values)
          .map(([name, value]) => h`${name.replace(/_/g, " ")}: ${glue([value].flat().map(number), ", ")}`)
          .slice(-3),
        "; ",
      )
    : one.low === undefined
      ? number(one.value)
      : between(one.low, one.high);
const outsideLink = (ident) => {
  const one = now.sources.volumes[ident];
  return h`${opens(place("outside", ident), h`${outsideValue(one)} ${one.unit}`, () =>
    evidence(one.title, [
      ["figure", json(one.value ?? one.values ?? [one.low, one.high])],
      ["unit", one.unit],
      ["source", one.source],
      ["provenance", mark(one.provenance)],
    ]),
  )} ${mark(one.provenance)}`;
};
const nearPairs = () => {
  if (now.run.kinds?.length) return para(h`${to("kinds", "by kind of picture, below", "part")}.`);
  if (!now.run.distances?.length) return para("No pairs were compared.");
  const head = ["kind of picture", "near enough"];
  return table("Pairs of different pictures within 31 bits", head, now.run.distances.map(pairsRow), "short");
};
const flaggedPart = () => {
  const rows = inOrder().filter((row) => triple(figureOf(row, "false_matches")));
  const measured = groupsBy(rows, (row) => JSON.stringify([row.figures.false_matches.value, row.figures.false_matches.n])).map(
    (each) => h`${flagged(each[0])}: ${named(each)}`,
  );
  const quoted = [
    ["perceptual hash, recalled", "fpr_perceptual"],
    ["classifier, recalled", "fpr_classifier"],
  ].map(([name, ident]) =>
    reportsRow(name, [1, 1, 1], [null, now.sources.volumes[ident].low, now.sources.volumes[ident].high], false),
  );
  const own = rows
    .filter((row) => triple(figureOf(row, "recall")))
    .map((row) => reportsRow(code(row), triple(figureOf(row, "recall")), triple(figureOf(row, "false_matches"))));
  const head = [
    "rate from",
    "right reports a day",
    "missed a day",
    "wrong reports a day",
    "wrong, of all reports",
    "people reviewing",
  ];
  const form = now.sources.form;
  return section(
    "flagged",
    "What is flagged wrongly?",
    para(h`<b>Measured</b>, of pictures not listed:`),
    list(measured.length ? measured : ["not measured"]),
    ofCorpus(
      rows,
      ["corpus_false_photographs", "corpus_false", "corpus_false_all"],
      ", the reference corpus: pictures that a second hash tells apart",
      (row) =>
        h`photographs ${figFull(row, "corpus_false_photographs")}, all ${figFull(row, "corpus_false")}, of all pairs ${figFull(row, "corpus_false_all")}`,
    ),
    para(
      h`<b>Modelled</b>: pairs of pictures near enough to match:`,
    ),
    nearPairs(),
    para(
      h`<b>Recalled</b>, a range without a source: ${outsideLink("fpr_perceptual")} for hashes, ${outsideLink("fpr_classifier")} for classifiers:`,
    ),
    table("Reports a day, if no listed picture were missed", head, quoted),
    fold("flagged-tables", "The same from each design's own interval; thresholds", [
      table("Reports a day, from this run", head, own),
      para(
        h`If false matches were independent, an account with ${number(given("items"))} pictures a year at ${number(given("rate"))} false matches a picture would reach ${number(given("threshold"))} matches with probability ${opens("threshold", number(reaches(given("items") * given("rate"), given("threshold"))), () => evidence("Threshold", [["how", "Poisson; one odd picture that is sent again and again is not independent"]]))}. Published: ${outsideLink("threshold_published")}; claimed: ${outsideLink("account_error_published")}.`,
      ),
      para(h`The form of yearly statistics: ${form.error_rate}. ${form.caution} (${form.source}) ${mark(form.provenance)}`),
    ]),
  );
};
