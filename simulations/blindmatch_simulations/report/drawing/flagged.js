// What is flagged wrongly: measured, modelled, and in the literature.
const reportsRow = (name, recall, rate) => {
  const f = flood(recall, rate),
    words = (v, show = number) => between(v[1], v[2], show);
  const where = place("flood", wordsOf(name));
  const held = () =>
    evidence("Reports a day", [
      ["photos a day; share listed", h`${number(given("volume"))}; ${number(prevalence())}`],
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
const bestOf = (row, name) => figureOf(row, best(row, name));
// what a bound of one in a million still comes to
// from `blindmatch design threshold`'s calculator, not from this run
const thresholdsSaid = () => {
  const {pictures, rate, bursts, error, needed} = now.sources.year.thresholds;
  const how = () =>
    evidence("Threshold, with bursts and without", [
      ["pictures of an account and period; false matches a picture", h`${number(pictures)}; ${number(rate)}, assumed`],
      ["bursts of an account and period; matches of one", h`${number(bursts.events)}; ${number(bursts.size)}, geometric: assumed`],
      ["chance that false matches open an account", h`at most ${number(error)}`],
      ["how", "compound Poisson; blindmatch design threshold"],
    ]);
  return h`At ${number(error)} innocent accounts opened, ${number(pictures)} pictures each, assumed rates, a model gives a threshold of ${number(needed[0])} if false matches are independent, ${opens("bursts", number(needed[1]), how)} in bursts (several at once).`;
};
const stillAYear = () => number(Number((given("volume") * 1e-6 * DAYS).toPrecision(3)));
// rates that others state beside those of this evidence: a hollow mark is a claim, a full one was measured here
const MARKS = {claimed: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", measured: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z"};
const claimMark = (kind, words) =>
  h`<svg class="key" viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true"><path d="${MARKS[kind]}" fill="${kind === "measured" ? "currentColor" : "none"}" stroke="currentColor" stroke-width="1.5"/></svg> ${words}`;
const claimRate = ({rate, bound}) => (rate === null ? "no rate" : rate === 0 ? "0 seen" : h`${bound ? "at most " : ""}${wordsOneIn(rate)}`);
const claimLine = (one) => {
  const where = place("claim", one.id),
    held = () =>
      evidence(h`${one.of}: ${one.status}, not measured here`, [
        ["what is said", one.says],
        ["rate of one unit", json(one.rate)],
        ["unit; list; pictures", glue([one.unit, one.list, one.pictures], "; ")],
        ["source", h`${one.source} ${mark("secondary")}`],
      ]);
  const shown_ = (part, words) => opens(h`${where}.${part}`, words, held);
  return [
    h`${claimMark("claimed", one.status)}: ${shown_("of", one.of)}`,
    shown_("rate", claimRate(one)),
    one.unit,
    one.list,
    shown_("pictures", one.pictures),
    h`${shown_("says", one.says)} ${shown_("source", soft(one.source))}`,
  ];
};
const ownLine = (row, name, pictures) => {
  const figure = figureOf(row, name);
  return figure.value === null || !figure.n
    ? null
    : [
        h`${claimMark("measured", "measured")}: ${RELATIONS[row.design.relation]}`,
        fig(row, name, h`${countOf(figure)}, ${levelOf(figure, "share")} ${spread(figure, "share")}`),
        "picture",
        figure.pairs ? fig(row, name, h`${number(Math.round(figure.pairs / figure.n))} entries`) : h`the ${term("reference corpus")}`,
        pictures,
        "this program\u2019s committed evidence",
      ];
};
const claimsPart = (rows) => {
  const near = rows.find((row) => row.design.relation === "near" && valueOf(row, "corpus_false") !== null),
    own = near ? [ownLine(near, "corpus_false_photographs", "photographs"), ownLine(near, "corpus_false", "all kinds")] : [];
  return fold("flagged-claims", "Rates that others state, beside ours", [
    para(h`${claimMark("claimed", "hollow: claimed")}, ${claimMark("measured", "full: measured here")}. A rate of pairs, one of pictures against a whole list and one of accounts are different quantities, and lists of other lengths give other rates. ${now.sources.claims.note}`),
    table("Claimed and measured rates of false matches", ["whose", "rate", "of each", "list", "pictures", "what is said, and where"], [...own.filter(Boolean), ...now.sources.claims.rows.map(claimLine)]),
  ]);
};
// most near-duplicates of a package match nothing of another, so that with them in the share can be smaller
const withAll = (row) => {
  const figure = figureOf(row, "corpus_false_all");
  return figure.value === null ? figFull(row, "corpus_false_all") : h`${figFull(row, "corpus_false_all")} ${soft(h`${countOf(figure)}`)}`;
};
const flaggedPart = () => {
  const rows = inOrder().filter((row) => triple(figureOf(row, "false_matches")));
  const groups = groupsBy(rows, (row) => JSON.stringify([best(row, "false_matches"), triple(bestOf(row, "false_matches"))]));
  // all designs of a relation by its words
  const who = (each) => {
    const {relation} = each[0].design;
    return rows.every((row) => (row.design.relation === relation) === each.includes(row)) ? RELATIONS[relation] : named(each);
  };
  const measured = groups.map((each) => [
    who(each),
    flaggedShare(each[0]),
    withAll(each[0]),
    valueOf(each[0], "corpus_false_photographs") === null
      ? figFull(each[0], "corpus_false_photographs")
      : h`${fig(each[0], "corpus_false_photographs", countOf(figureOf(each[0], "corpus_false_photographs")))} ${soft(h`(\u2264\u202f${percent(figureOf(each[0], "corpus_false_photographs").high)})`)}`,
  ]);
  const quoted = [
    ["perceptual hash, recalled", "fpr_perceptual"],
    ["classifier, recalled", "fpr_classifier"],
  ].map(([name, ident]) =>
    reportsRow(name, [1, 1, 1], [null, now.sources.volumes[ident].low, now.sources.volumes[ident].high]),
  );
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
    measured.length
      ? table(
          "Measured, of pictures not listed",
          [
            "designs",
            ofHowMany("false_matches", "corpus_false", (one) => h`of ${number(one.n)} pictures, each against those of other packages`),
            "the same with near-duplicates inside packages left in, so of more pictures",
            "photographs, near-duplicates set apart",
          ],
          measured,
        )
      : para("Not measured."),
    para(
      h`Pictures of one package are not compared with each other. Three million pictures without a match bound 1 in a million: still ${opens("still", stillAYear(), () => evidence("False matches a year", [["how", "photos a day, times 365, over a million"]]))} false matches a year.`,
    ),
    fold("flagged-tables", "Reports a day; thresholds", [
      para(h`<b>Recalled</b>, without a source: ${outsideLink("fpr_perceptual")} for hashes, ${outsideLink("fpr_classifier")} for classifiers. ${thresholdsSaid()}`),
      table("Reports a day, if no listed file were missed", head, quoted),
      para(h`Videos count here among known files, as if they were found, too; where half of all matches are wrong, in ${to("year", "a year", "part")}, they do not count.`),
      para(
        h`If false matches were independent, an account with ${number(given("items"))} pictures a year at ${number(given("rate"))} false matches a picture would reach ${number(given("threshold"))} matches with probability ${opens("threshold", number(reaches(given("items") * given("rate"), given("threshold"))), () => evidence("Threshold", [["how", "Poisson; one odd picture that is sent again and again is not independent"]]))}. Published: ${outsideLink("threshold_published")}; claimed: ${outsideLink("account_error_published")}.`,
      ),
      para(h`The form of yearly statistics: ${form.error_rate}. ${form.caution} (${form.source}) ${mark(form.provenance)} <b>Law.</b> ${now.sources.law} ${mark("secondary")}`),
    ]),
    claimsPart(rows),
  );
};
