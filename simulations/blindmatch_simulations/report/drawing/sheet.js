// The decision sheet: one printed page, a row for each option's designs, in words. It shows what other parts show.
const LEVELS = {
  baseline: "Baselines",
  device: "Device level",
  server: "Server level",
  encryption: "Protocol level",
};
const FINDS = {
  near: "known pictures, and copies that look alike",
  equal: "known pictures, and copies whose hash is the same",
  category: "what a model takes for its category; new pictures too",
  nothing: "nothing",
};
const SCALES = [
  [1e9, "billion"],
  [1e6, "million"],
  [1e3, "thousand"],
];
const rounded = (v) => {
  const [size, name] = SCALES.find(([least]) => v >= least) || [1, ""];
  return `${number(Number((v / size).toPrecision(2)))}${name && ` ${name}`}`;
};
const two = (v) => number(Number(v.toPrecision(2)));
const REAL = "iwf_list_2024";
const roundedBetween = (low, high) => (rounded(low) === rounded(high) ? rounded(low) : `${rounded(low)} to ${rounded(high)}`);
const INNOCENT = {picture: "picture", hash: "hash", outcome: "no match"};
// what an innocent picture tells whom; a centre hears of reported pictures alone
const innocent = (row) => {
  const told_ = sight(row)
    .filter((box) => box.party !== "device" && !AFTER.includes(box.party))
    .map((box) => {
      const things = THINGS.filter((thing) => thing !== "account" && box.things[thing]).map(
        (thing) => (box.things[thing].state === "sealed" ? "sealed picture" : INNOCENT[thing]),
      );
      return things.length ? h`${partyName(box.party)}: ${glue(things, ", ")}` : "";
    })
    .filter(Boolean);
  const words = told_.length ? glue(told_, "; ") : "nobody anything of the picture";
  return h`${to(place(row.id, "sees"), words)}`;
};
const restoredName = (row) => (valueOf(row, "corpus_recall_pairs") === null ? "recall_pairs" : "corpus_recall_pairs");
const restored = (row) => {
  if (row.design.relation === "nothing") return "none";
  const name = restoredName(row),
    figure = figureOf(row, name);
  if (figure.value === null || ofFewer(row, name, figure)) return fig(row, name);
  return fig(row, name, h`${percent(figure.value)} ${soft(h`(${between(figure.low, figure.high, percent)})`)}`);
};
const wrongName = (row) => (valueOf(row, "corpus_false_photographs") === null ? "false_matches" : "corpus_false_photographs");
const wrongly = (row) => {
  if (row.design.relation === "nothing") return "none";
  const name = wrongName(row),
    rate = triple(figureOf(row, name));
  if (!rate) return fig(row, name);
  const yearly = (figure) => roundedBetween(...figure.slice(1).map(wrongAYear)),
    all = triple(figureOf(row, "corpus_false"));
  return h`${fig(row, name, yearly(rate))}${name !== "false_matches" && all ? h`; ${fig(row, "corpus_false", yearly(all))}` : ""}`;
};
const wrongAYear = (rate) => DAYS * flood([1, 1, 1], [rate, rate, rate]).wrong[0];
// bytes of a user and year, at a list of `n`
const ofUser = (row, n) => {
  const of = (name) => (valueOf(row, name) === null ? null : bytesAt(row, name, n));
  const [up, down, setup, update] = ["query_up_bytes", "query_down_bytes", "setup_bytes", "update_bytes"].map(of);
  if (!setup || !update) return null;
  return ends(
    (end) =>
      given("items") * ((up?.[end] || 0) + (down?.[end] || 0)) +
      given("setups") * setup[end] +
      DAYS * given("updates") * update[end],
  );
};
const userPays = (row) => {
  if (row.design.relation === "nothing") return "nothing";
  const cpu = valueOf(row, "device_cpu_ms"),
    all = ofUser(row, target(row));
  const real = sizeOf(REAL),
    longer = ofUser(row, real);
  const euro = (v) => (v < 0.01 ? "under 1 cent" : `\u20ac${two(v)}`);
  const paid = (v) => h`${bytes(v)}, ${euro((v / 1e9) * given("price"))}`;
  const grown = all && longer[1] > all[1] ? h` ${soft(h`(real list: up to ${paid(longer[1])})`)}` : "";
  return opens(
    place(row.id, "user"),
    h`${cpu === null ? absent("") : h`${two((cpu * given("items")) / 1000)} s`}; ${all ? h`${paid(all[1])}${grown}` : absent("")}`,
    () =>
      evidence(h`${row.id}: what a user pays in a year`, [
        ["CPU of the device, a picture", fig(row, "device_cpu_ms")],
        [
          "bytes for matching",
          all ? h`${bytesBetween(all)} at ${number(target(row))} entries; ${bytesBetween(longer)} at ${number(real)}` : absent(""),
        ],
        ...now.sources.inputs
          .filter((one) => ["items", "setups", "updates", "price"].includes(one.ident))
          .map((one) => [one.label, h`${number(given(one.ident))}: ${one.source} ${mark(one.provenance)}`]),
        ["not counted", "energy of the device; reports; the messages themselves"],
      ]),
  );
};
const ROUND = 1e6;
const runs_ = (row) => {
  const parties = unique(Object.values(row.design.roles)).filter((party) => party !== "provider");
  const who =
    parties.length > 1
      ? h`${glue(parties.map(partyName), " and ")}, apart`
      : parties.length
        ? `a ${partyName(parties[0])} besides the provider`
        : Object.keys(row.design.roles).length
          ? "the provider alone"
          : "nobody: no server matches";
  const found = asksNobody(row) ? null : cpuAt(row, target(row));
  const cores_ = found && found.slice(0, 2).map((one) => (one * ROUND) / DAY_MS);
  return h`${who}${cores_ ? h`; ${opens(place(row.id, "cost"), h`${between(...cores_, two)} cores`, () => costEvidence(row, target(row)))}` : ""}`;
};
const depictedTold = (row) => {
  const figure = figureOf(row, "depicted");
  if (figure.value === null) return fig(row, "depicted");
  return fig(row, "depicted", figure.value ? "its hash, and from it a blurred likeness" : "no hash of it");
};
const worst = (row) => {
  const first_ = abuses(row).find((one) => one.fact.topic !== "read");
  const words = first_ ? abuseLine(first_) : row.design.relation === "nothing" ? "none declared" : "the list itself";
  return h`${opens(place(row.id, "abuse"), words, () => abuseEvidence(row))}${
    row.design.relation === "nothing" ? "" : proven(row) ? "; outsiders can check the list" : "; no proof to outsiders"
  }`;
};
const unknown = (row) => {
  const open = row.checks.filter((one) => one.verdict === "not checked").length;
  const words = [
    row.design.differs ? "the option itself: a stand-in ran" : "",
    open ? `${open} of ${row.checks.length} leakage checks` : "",
    row.design.end_to_end && figureOf(row, "undeclared_bytes").value === null ? "whether undeclared bytes leave" : "",
  ].filter(Boolean);
  return words.length ? to(place(row.id, "status"), glue(words, "; ")) : "none of its own";
};
const SHEET = () => [
  ["Option, design", null],
  ["An innocent picture tells", innocent],
  ["Can find", (row) => FINDS[row.design.relation]],
  ["Reports restored (0a is 100\u00a0%)", restored],
  ["Innocent pictures reported a year: photographs; all kinds", wrongly],
  ["A user and year: CPU; data, price", userPays],
  ["Must be run by; cores a million photos a day", runs_],
  ["Stolen files tell of a depicted child", depictedTold],
  ["Worst abuse declared (who would notice)", worst],
  ["Not measured, beside what nobody measured", unknown],
];
const sheetStudy = (row) => [
  h`<b>${row.option}</b> ${code(row)}`,
  "nothing, unless the account is opened",
  "nothing: opens messages of accounts",
  "none",
  "none",
  absent(""),
  "authorities, with keys in shares",
  "no list",
  h`${row.opened.reduce((a, b) => (b.messages > a.messages ? b : a)).who}: all messages`,
  "everything but the study",
];
const sheetRows = (option) => [
  ...designs()
    .filter((row) => row.design.option === option.id)
    .map((row) =>
      SHEET().map(([, cell], at) => (at ? cell(row) : h`<b title="${option.name}">${option.id}</b> <code>${row.id}</code>`)),
    ),
  ...studies()
    .filter((row) => row.option === option.id)
    .map(sheetStudy),
];
const sheetPart = () => {
  const head = SHEET().map(([name]) => name);
  const literature = now.sources.volumes.fpr_perceptual;
  const rows = Object.entries(LEVELS).flatMap(([level, name]) => [
    [name],
    ...now.sources.options.filter((one) => one.level === level).flatMap(sheetRows),
  ]);
  const pairs = Math.max(0, ...designs().map((row) => figureOf(row, restoredName(row)).n || 0));
  return section(
    "sheet",
    "Decision sheet",
    para(
      h`<b>No option sees</b> grooming or live streams; a list sees no new material; video was not measured. <b>Restored</b>: of ${number(pairs)} copies of listed photographs that the provider's own matching would find, every edit alike; a modified client, which sends unseen, is not in it. <b>Innocents</b>: at ${rounded(DAYS * given("volume"))} photos a year, the ends of the measured intervals. What decides is unknown: the error rate of a long list on real traffic. At one error in a million it is ${rounded(wrongAYear(1e-6))} a year; recalled for hashes: ${number(literature.low)} to ${number(literature.high)} a picture. Whoever makes a list, and the ${term("centre")}, hold it in every design. Nothing is ranked.`,
    ),
    table("Options by level", head, rows, "decision"),
    para(
      h`${designs().map(entries).length ? h`List of ${listed()}; ` : ""}real list: ${number(sizeOf(REAL))}, ${now.sources.volumes[REAL].source}. Price: ${now.sources.volumes.data_price.source}. Run of ${now.run.made_at}, <code>${now.run.command}</code>, digest ${now.run.digest.slice(0, 16)}.`,
    ),
  );
};
