// The decision sheet: two printed pages at most, a row for each design, in words. It shows what other parts show.
const LEVELS = {
  baseline: "Baselines",
  device: "Device level",
  server: "Server level",
  encryption: "Protocol level",
};
const FINDS = {
  near: "many near copies",
  equal: "those of the same hash",
  category: "what a model takes for its category",
  nothing: "nothing",
};
const SCALES = [
  [1e9, " billion"],
  [1e6, " million"],
  [1e4, " thousand"],
];
const REAL = "iwf_list_2024";
const TESTABLE = ["testable", "hashes"];
const two = (v) => number(Number(v.toPrecision(2)));
const rounded = (v) => {
  const [size, name] = SCALES.find(([least]) => v >= least) || [1, ""];
  return `${two(v / (name === " thousand" ? 1e3 : size))}${name}`;
};
const duration = (v) => (v < 3600 ? `${two(v)}\u00a0s` : `${two(v / 3600)}\u00a0h`);
const euro = (v) => (v < 0.01 ? "<\u202f\u20ac0.01" : `\u20ac${v < 10 ? v.toFixed(2) : two(v)}`);
// from the least to the most, their unit once
const span = (low, high, shown_) => {
  const [least, most] = [shown_(low), shown_(high)],
    [unit] = /\u00a0\D+$/.exec(most) || [""];
  return least === most ? least : `${unit && least.endsWith(unit) ? least.slice(0, -unit.length) : least}\u2013${most.replace("\u20ac", "")}`;
};
const realList = () => given("list") || sizeOf(REAL);
const clause = (says) => says.split(/[,:;(]/)[0].trim();
// who serves the set-up of a design that asks nobody
const handsOut = (row) => (asksNobody(row) ? row.traffic.find((one) => one.purpose === "setup" && !ofHarness(row, one))?.party : undefined);
const noList = (row) => ["nothing", "category"].includes(row.design.relation);

// what whoever is neither end nor centre learns of a picture that does not match
const shownTo = (row, party) => {
  if (seenBy(row, party).picture?.state === "sealed") return ["the sealed picture"];
  return saysOf(row, party, ["picture", "hash"]);
};
const WHOSE = "who sent it";
const innocentTo = (row, party) => {
  if (party === "centre") return ["a voucher of each", WHOSE];
  const found = seenBy(row, party),
    asked = Object.values(row.design.roles).includes(party);
  const unsure = ["picture", "hash", "outcome"].some((thing) => found[thing]?.state === "unchecked");
  return [
    ...shownTo(row, party),
    ...(asked && row.design.learns.includes("server") ? ["that nothing matched"] : []),
    ...(found.account && asked && party !== "provider" ? [WHOSE] : []),
    ...(handsOut(row) === party ? ["who fetches the set-up"] : []),
    ...(unsure && asked ? ["(not checked)"] : []),
  ];
};
// whose each request is, to the provider with the fewest others
const unlessJoined = (row) => {
  const tells = ({adversary, parties, facts}) =>
    adversary === "semi-honest" && parties.length > 1 && parties.includes("provider") && facts.some(({shows}) => shows.includes("account"));
  const found = smallest(row.design.declared.filter(tells).map((one) => one.parties));
  return found.length ? `, unless ${found.map((parties) => parties.map(partyName).join(" and ")).join(", or ")} join, or whoever sees when messages leave helps` : "";
};
const innocent = (row) => {
  const parties = sight(row)
    .map((box) => box.party)
    .filter((party) => party !== "device" && (!AFTER.includes(party) || (party === "centre" && vouches(row))));
  const said = groupsBy(
    parties.map((party) => [party, innocentTo(row, party)]).filter(([, words]) => words.length),
    ([, words]) => words.join(),
  ).map((each) => h`${glue(each.map(([party]) => partyName(party)), " and ")}: ${glue(each[0][1], ", ")}`);
  return to(place(row.id, "sees"), said.length ? glue(said, "; ") : h`nobody anything more than in every design${unlessJoined(row)}`);
};
const bounded = (figure) => figure.value !== null && figure.low !== null && figure.high !== null;
const ofThese = (figure) => soft(h`of ${number(figure.n)}`);
// an interval that leaves nearly all open: a count says more
const tooFew = (figure) => bounded(figure) && figure.high - figure.low > 0.5;
const restored = (row) => {
  if (row.design.relation === "nothing") return "none";
  const [name, pairs] = ["recall", "recall_pairs"].map((one) => best(row, one)),
    [figure, part] = [name, pairs].map((one) => figureOf(row, one));
  if (!bounded(figure) || ofFewer(row, name, figure)) return fig(row, name);
  if (tooFew(figure)) return fig(row, name, h`${countOf(figure)}: too few to say`);
  const words = h`${percent(figure.value)} ${soft(h`(${between(figure.low, figure.high, percent)})`)}${name === "recall" ? h` ${ofThese(figure)}` : ""}`;
  return h`${fig(row, name, words)}${bounded(part) ? h`; ${fig(row, pairs, h`${percent(part.value)} of 0a's`)}` : ""}`;
};
const sentFlagged = (row) => {
  const figure = figureOf(row, "false_matches");
  return fig(row, "false_matches", figure.value === null ? null : countOf(figure));
};
// of test pictures that are not listed, by kind of picture and of list; nothing here is of real traffic
const wrongly = (row) => {
  if (row.design.relation === "nothing") return "none";
  if (row.design.relation === "category") {
    const {low, high} = now.sources.volumes.fpr_classifier;
    return h`not measured; recalled ${between(low, high, percent)} of pictures`;
  }
  const known = behaviourOf(row)?.false;
  if (!known) return h`${valueOf(row, "false_matches") === null ? "" : "not measured at scale; "}${sentFlagged(row)}`;
  return listCell(known.lists.at(-1), row.id);
};
// bytes of a user and year at a list of `n`, by the lines of the table of costs: [least, most]; nothing if a part was not measured
const ofUser = (row, n) =>
  [...ASKED, "setup_bytes", "update_bytes"].some((name) => valueOf(row, name) === null && !figureOf(row, name).why.startsWith(NOTHING)) || Number.isNaN(voucherBytes(row))
    ? null
    : ends(
        (end) =>
          given("items") * askedAt(row, n)[end] +
          given("setups") * bytesAt(row, "setup_bytes", n)[end] +
          DAYS * given("updates") * bytesAt(row, "update_bytes", n)[end],
      );
// of files of before a model was a part of the set-up
const lacksModel = (row) => row.design.relation === "category" && !figureOf(row, "setup_bytes").why.includes("model");
const userPays = (row) => {
  if (row.design.relation === "nothing") return "nothing";
  const cpu = row.design.end_to_end ? valueOf(row, phoneOf(row)) : 0,
    longer = deviceAt(row, realList()),
    [all, real] = [entries(row), realList()].map((n) => ofUser(row, n)),
    price = (v) => euro((v / 1e9) * given("price")),
    seconds = (ms) => duration((ms * given("items")) / 1000);
  const grown = all && [all[0], real[1] > 1.005 * all[0] ? real[1] : all[0]];
  const busy = cpu === null ? absent("") : longer ? span(cpu, Math.max(cpu, longer[1]), seconds) : seconds(cpu);
  return opens(
    place(row.id, "user"),
    h`${busy}; ${all ? h`${span(...grown, bytes)}, ${span(...grown, price)}` : absent("")}${lacksModel(row) ? h` ${soft("(without its model)")}` : ""}`,
    () =>
      evidence(h`${code(row)}: what a user pays in a year`, [
        [phoneOf(row) === "phone_cpu_ms" ? "CPU of the device, a picture: decoding, hashing and protocol, at this run's list" : "CPU of the device, a picture, without decoding and hashing, at this run's list", fig(row, phoneOf(row))],
        ["the same over a longer list", longer ? h`${between(longer[0], longer[1])} ms: ${longer[2]}; a u takes at most ${number(longestU(row))} ms` : "not computed"],
        ["bytes for matching, at this run's list", h`${all ? bytes(all[0]) : absent("")}, ${number(entries(row))} entries`],
        ["the same at a real list, as in the table of costs", h`${real ? bytesBetween(real) : absent("")}, ${number(realList())} entries`],
        ...now.sources.inputs
          .filter((one) => ["items", "setups", "updates", "price"].includes(one.ident))
          .map((one) => [one.label, h`${number(given(one.ident))}: ${one.source} ${mark(one.provenance)}`]),
        ["not counted", "energy of the device; reports; messages; longer updates, unless they are whole sets"],
      ]),
  );
};
const ROUND = 1e6;
const mustRun = (row) => {
  const parties = unique(Object.values(row.design.roles)).filter((party) => party !== "provider");
  const who =
    parties.length > 1
      ? h`${glue(parties.map(partyName), " and ")}, assumed apart`
      : parties.length
        ? partyName(parties[0])
        : row.design.content === "sealed"
          ? "provider, on a vendor's hardware"
          : vouches(row)
            ? "centre"
          : asksNobody(row)
            ? handsOut(row) ? h`${partyName(handsOut(row))}, for the set-up alone` : "no matching server"
            : "provider";
  if (vouches(row)) return h`${who}; cores: not measured`;
  if (asksNobody(row)) return who;
  const at = (n) => cpuAt(row, n)?.slice(0, 2).map((one) => (one * ROUND) / DAY_MS);
  const [own, longer] = [at(entries(row)), at(realList())];
  const words = own
    ? span(own[1], Math.max(own[1], longer[1]), two)
    : absent(figureOf(row, "server_cpu_ms").why);
  const lasts = exhausted(row) ? h`; a key: ${lasting(keyLife(row, given("volume")))}` : "";
  return h`${who}; ${opens(place(row.id, "cost"), words, () => costEvidence(row, target(row)))}${lasts}`;
};
// of an entry of the list, to whoever has the files of the fewest parties; curator and centre hold the list anyway
const stolen = (row) => {
  const holding = (level) =>
    smallest(row.design.list_known.filter((one) => one.knowledge === level && !one.parties.includes("centre")).map((one) => one.parties));
  const [testable, hashes] = TESTABLE.map(holding);
  const files = (groups) => together(groups, "any device");
  if (hashes.length) return fig(row, "depicted", h`${files(hashes)}: its hash`);
  return testable.length ? fig(row, "depicted", h`${files(testable)}: whether a guess is it`) : fig(row, "depicted", "nothing");
};
// the most severe; of these one that nobody would notice, by the fewest parties
const worstOf = (row) => {
  const all = abuses(row).filter((one) => one.fact.topic !== "read"),
    top = all.filter((one) => one.severity === all[0].severity);
  const rank = (one) => [notice(one) === "nobody" ? 0 : 1, Math.min(...one.by.map((parties) => parties.length))];
  return top.sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1])[0];
};
// where none is declared: what a played attack of others than users exposed, one that nobody notices first, then
// what most kinds of actors can do
const playedOn = (row) =>
  attackRows()
    .filter((one) => one.parameters.design === row.id && one.succeeded && one.trace?.beyond_e2ee && !one.adversary.parties.includes("device"))
    .sort(
      (a, b) =>
        (a.trace.notices !== now.sources.nobody) - (b.trace.notices !== now.sources.nobody) ||
        b.trace.actors.length - a.trace.actors.length,
    )[0];
// what an imitation of an option lets through, which the option itself might not
const imitatedOn = (row) =>
  glue(
    exposedOn(row, Object.keys(now.sources.imitated)).map((one) => h`; here ${byAttackers(one)} alone, played ${soft(h`(${called(one.trace.notices)})`)}`),
    "",
  );
const worst = (row) => {
  const one = worstOf(row),
    played = playedOn(row);
  const words = one
    ? h`${abuseSaid(one, byWhom(one, "; or "))}${imitatedOn(row)}`
    : played
      ? h`${withWhom(played.adversary.parties)}: ${played.trace.exposes} ${soft(h`(${called(played.trace.notices)})`)}`
      : noList(row)
        ? abuses(row).length ? "none but every design\u2019s" : "none declared"
        : h`curator lists any picture ${soft("(not measured)")}`;
  return opens(place(row.id, "abuse"), words, () => abuseEvidence(row));
};
const sameList = (row) => {
  if (LISTED[row.design.relation]) return "no list";
  const figure = figureOf(row, "proof_bytes");
  return fig(row, "proof_bytes", figure.value !== null ? "provable" : figure.why.startsWith(NOTHING) ? "unprovable" : absent(figure.why));
};
const LOOKED = {undeclared_bytes: "whether more leaks than declared", advantage: "whether pictures can be told apart"};
const unknown = (row) => {
  const open = row.checks.filter((one) => one.verdict === "not checked").length;
  const words = [
    row.design.differs ? "the option itself (stand-in ran)" : "",
    row.lessened ? clause(row.lessened).replace(/^(\d+) of (\d+) pictures/, (_, ran, all) => `${all - ran} of ${all} test pictures not run`) : "",
    open ? `${open} of ${row.checks.length} checks not run` : "",
    ...Object.keys(LOOKED).map((name) => {
      const figure = figureOf(row, name);
      if (name === "undeclared_bytes" && !row.audit.sessions && row.design.relation !== "nothing") return "an audit of what leaves devices";
      return figure.value === null && !figure.why.startsWith(NOTHING) ? LOOKED[name] : "";
    }),
  ].filter(Boolean);
  return words.length ? to(place(row.id, "status"), glue(words, "; ")) : "no more";
};
// what designs of a letter find alike is said once; a row says what is its own
const FOUND = () => [["Finds", (row) => FINDS[row.design.relation]], ["Found, of edited copies of photographs, each edit alike (rest missed)", restored], [h`Matched one of another source: all kinds, ${listsHead()}`, wrongly]];
const foundWords = (row) => FOUND().map(([, cell]) => saying(cell(row))).join("|");
const lettered = () =>
  once("lettered", () =>
    ways()
      .map((rows, at) => [LETTERS[at], rows.filter((row) => foundWords(row) === foundWords(rows[0]))]),
  );
// what it takes wrongly, unless a letter says it
const likeLetter = (row) => {
  const said = saying(wordsOf(wrongly(row))),
    [letter] = lettered().find(([, rows]) => rows[0].design.relation === row.design.relation && saying(wordsOf(wrongly(rows[0]))) === said) || [];
  return letter ? "" : h`; innocents: ${wrongly(row)}`;
};
const finds = (row) => {
  if (row.design.relation === "nothing") return "nothing";
  const [letter] = lettered().find(([, rows]) => rows.includes(row)) || [];
  const name = best(row, "recall");
  return letter
    ? h`<b>${letter}</b> ${RELATIONS[row.design.relation].replace(" copies", "")}, ${fig(row, name, percent(valueOf(row, name)))}${opensFrom(row)}`
    : h`${FINDS[row.design.relation]}; ${restored(row)}${opensFrom(row)}${likeLetter(row)}`;
};
// the longest lists over which devices of this run were measured: the shortest and the longest of them
const longestRun = () => {
  const lengths = designs().map((row) => longestOf(row, "device_growth_u"));
  return unique([Math.min(...lengths), Math.max(...lengths)].map(rounded)).join(" to ");
};
const SHEET = () => [
  ["Option, design", null],
  ["Who learns what of an innocent picture", innocent],
  ["Found, each edit alike (letter: above)", finds],
  [`A user's year: device's CPU, to the longest list measured (${longestRun()} entries, by design; beyond: not known); data, its price, ${listed()} to ${rounded(realList())}`, userPays],
  ["Run by; server cores for a million pictures a day, same lists (no growth where none was resolved)", mustRun],
  ["Whose stolen files, beside curator's and centre's, tell what of a listed picture", stolen],
  ["Worst abuse declared, or played (who would notice)", worst],
  ["One list for all, if the log\u2019s witnesses are independent", sameList],
  ["Not measured, beside what is of none (above)", unknown],
];
const sheetStudy = (option, row, at) => {
  const escrow = row.figures.escrow_bytes;
  return [
    rowName(option, row, at),
    "nobody anything more than in every design, unless the account is opened, which its device is not told",
    "nothing: opens messages",
    escrow ? to(place(row.id, "cost"), h`CPU: not computed; ${bytes(escrow.value * given("items"))}, which the provider keeps, ${euro(((escrow.value * given("items")) / 1e9) * given("price"))}`) : absent(""),
    "authorities, each with a part of the key",
    "there is no list",
    to(place(row.id, "abuse"), openedWorst(row)),
    "no list",
    "all but the study",
  ];
};
// of variants, what the rows of their bases do not say; what differs alike in all of them is said once
const unlikeBases = (rows) => {
  const unlike = (row, [, cell]) => (saying(cell(row)) === saying(cell(baseOf(row))) ? "" : cell(row)),
    said = (row, columns) => columns.filter((one) => saying(unlike(row, one))).map((one) => h`<b>${clause(one[0])}</b>: ${unlike(row, one)}`);
  const same = ([name, cell]) => rows.length > 1 && unique(rows.map((row) => saying(unlike(row, [name, cell])))).length === 1;
  const columns = SHEET().slice(1),
    own = columns.filter((one) => !same(one));
  const each = rows.map((row) => [row, said(row, own)]).filter(([, words]) => words.length);
  const parts = each.map(([row, words]) => h`${rows.length > 1 ? h`<i>${nameOf(baseOf(row))}</i>: ` : ""}${glue(words, ". ")}`);
  return glue([...said(rows[0], columns.filter(same)), ...parts], ". ") || "no different";
};
const variantRows = (option) =>
  groupsBy(
    designs().filter((row) => row.design.option === option.id && baseOf(row)),
    (row) => kindOfVariant(row).says,
  ).map((rows) => [
    rows.length > 1 ? h`<b>${option.id}</b> ${inPlain(rows, clause(kindOfVariant(rows[0]).says))}` : rowName(option, rows[0], 1),
    unlikeBases(rows),
  ]);
const sheetRows = (option) => [
  ...designs()
    .filter((row) => row.design.option === option.id && !baseOf(row))
    .map((row, index) => SHEET().map(([, cell], at) => (at ? cell(row) : rowName(option, row, index)))),
  ...variantRows(option),
  ...studies()
    .filter((row) => row.option === option.id)
    .map((row, index) => sheetStudy(option, row, index)),
];
// the measured ratio first, and its price; then what of known files would be found, by shares that are assumed
const rowOf = (id) => designs().find((row) => row.id === id);
const ratioSaid = (row) => {
  const figure = figureOf(row, best(row, "recall_pairs"));
  return bounded(figure) ? h`${called(nameOf(row))} ${fig(row, best(row, "recall_pairs"), h`${percent(figure.value)} ${soft(h`(${between(figure.low, figure.high, percent)})`)}`)}` : null;
};
const askedBytes = (row) => (valueOf(row, "query_up_bytes") === null ? "no query" : bytes(ASKED.reduce((sum, name) => sum + (valueOf(row, name) ?? 0), 0)));
const priceSaid = (row) => h`${nameOf(row)} ${number(Number(cpuOf(row).toPrecision(2)))} ms, ${askedBytes(row)}`;
const sharesSaid = (row) => {
  const {at} = atSettings(behaviourOf(row));
  return h` (${percent(at.video)} videos; in E2EE designs ${percent(at.modified)} by clients that never ask)`;
};
const foundSaid = () => {
  const [near, equal, all] = ["token-psi", "oprf-psi", "provider-scan"].map(rowOf),
    ratios = [near, equal].filter(Boolean).map(ratioSaid).filter(Boolean),
    recall = (row) => row && behaviourOf(row)?.ranges.recall.value,
    mixed = recall(all) ? [near, equal].filter(recall).map((row) => percent(recall(row) / recall(all))) : [],
    prices = [near, all].filter((row) => row && cpuOf(row) >= 0).map(priceSaid),
    hundred = [near, equal, all].filter((row) => row && behaviourOf(row)).map((row) => h`${to("year", tenths(hundredOf(behaviourOf(row)).found), "part")} in ${nameOf(row)}`);
  return h`<b>Found</b>, measured: of what the provider\u2019s matcher (0a) finds, ${ratios.length ? glue(ratios, ", ") : absent("")}, each edit alike${mixed.length ? h` (assumed mix: ${glue(mixed, ", ")})` : ""}. ${prices.length ? h`Price of asking about one picture, without set-ups and updates, servers\u2019 CPU and bytes, ${number(entries(near || equal || all))} entries: ${glue(prices, "; ")}. ` : ""}${hundred.length ? h`Of 100 known files sent (reported, assumed known), by assumed shares${near && behaviourOf(near) ? sharesSaid(near) : ""}, found: ${glue(hundred, ", ")}${near && behaviourOf(near) ? foundSpan(behaviourOf(near)) : ""}. ` : ""}${escapes()}`;
};
const earlier = (rows) => {
  const opening = rows.filter((row) => row.design.declared.some(({facts}) => facts.some(({name}) => name === "early_opening"))),
    least = unique(opening.map((row) => row.design.parameters.threshold)).sort((a, b) => a - b);
  return least.length ? h`; with more work, as declared, from ${glue(least, " or ")} on` : "";
};
const thresholdSaid = (rows) => {
  const least = unique(rows.map(openedFrom)).sort((a, b) => a - b);
  return h`from ${glue(least, " or ")} matches with different hashes, of a device and period, on; in this run ${glue(rows.map((row) => h`${fig(row, "recall", countOf(figureOf(row, "recall")))} ${soft(nameOf(row))}`), ", ")}${earlier(rows)}`;
};
// keys that are used up, by what stands beside their cores
const keysSaid = () =>
  groupsBy(designs().filter((row) => exhausted(row)), (row) => exhausted(row)).map(
    (same) => h`At ${number(given("volume"))} pictures a day a key of ${named(same)} lasts ${exhausted(same[0])}: once it is used up, nobody is answered before a new set-up. `,
  );
// a forced report fails the check, and what it is for is done by then
const forcedEnds = () => (designs().some((row) => abuses(row).some((one) => one.name === "forced_report")) ? "A forced report is refused, after the centre has seen the picture. " : "");
const sheetPart = () => {
  const head = SHEET().map(([name]) => name),
    known = now.sources.options.map((one) => one.id);
  const others = unique(designs().map((row) => row.design.option)).filter((id) => !known.includes(id));
  const groups = [
    ...Object.entries(LEVELS).map(([level, name]) => [name, now.sources.options.filter((one) => one.level === level)]),
    ["Not in the catalogue", others.map((id) => ({id, name: ""}))],
  ];
  const rows = groups.flatMap(([name, options]) => {
    const own = options.flatMap(sheetRows);
    return own.length ? [[name], ...own] : [];
  });
  // whoever is sent the hashes differs in the last cell alone
  const tried = groupsBy(prevented(), ({consequence}) => consequence).map((same) => [
    h`<b>${same[0].consequence}</b>`,
    h`${glue(same[0].cells.map((cell, at) => h`<b>${TOLD[at]}</b>: ${cell}`), "; ")}${same.slice(1).map(({cells}) => h`; if sent hashes: ${cells.at(-1)}`)}.`,
  ]);
  rows.push(["Prevention, nothing reported: a device that learns the outcome warns, or refuses to send"], ...(tried.length ? tried : [["not played in this run", absent("")]]));
  const scan = designs().find((row) => valueOf(row, "corpus_recall") !== null && row.design.relation === "near");
  const found = scan ? h`${number(figureOf(scan, "corpus_recall").n)} ` : "";
  const alike_ = lettered().map(([letter, [row]]) => [h`<b>${letter}</b> ${FINDS[row.design.relation]}`, restored(row), wrongly(row)]);
  const photos = rounded(DAYS * given("volume")),
    never = foundByNone(),
    guess = designs().filter((row) => row.design.relation === "category"),
    caught = designs().filter(readByProvider),
    counts = designs().filter((row) => vouches(row) && row.design.parameters.threshold > 1);
  const parts = [
    h`<b>Who</b>. Provider: runs the messenger; matcher, third party, parties A and B: answer whether a picture is listed; curator: makes the list; ${term("centre")}: gets reports; vendor: makes the enclave.`,
    h`<b>How</b>. E2EE: only sender and recipient can read; exceptional access: authorities hold keys to accounts. Hash (perceptual): fingerprint of a picture's look, a blurred likeness. Set-up: what a device downloads first; plain or hashed (scrambled) list: in it. Hash, part or prefix sent: a server gets the fingerprint, numbers behind it, or scrambled first bits. Blinded, encrypted (homomorphic): it answers without reading. Tokens: pieces, for near copies. Via provider: who answers does not see who asks. Voucher: a closed report. Classifier: a model guesses a category. Enclave: a chip that computes unseen; sealed: for it alone. Stand-in: an imitation.`,
    h`<b>None finds</b> grooming, live streams or video; new material: ${guess.length ? h`${named(guess)} alone may` : "none"}.${never.length ? h` Almost no copy is found after one of these edits: ${never.join("; ")}.` : ""}`,
    foundSaid(),
    h`<b>Innocent pictures matched: not known.</b> ${falseSaid(behaviourOf(designs().find((row) => row.design.relation === "near" && behaviourOf(row)?.false) || {})?.false, "sheet")}`,
    h`<b>A person wrongly reported</b>, in this prototype: a second hash must agree${guess.length ? h` (not in ${named(guess)})` : ""} and a person decide; ${withstoodOf(now.sources.after[0].attacks)} ${forcedEnds()}A device that reports says so at once${caught.length ? h`; where the provider does (${named(caught)}), the sender is told only later, when a person has decided` : ""}${counts.length ? "; of opened vouchers, nothing" : ""}. A sender who is told can complain, which shows the match to whoever sees the traffic. Errors, arrests, blocked accounts: not measured.`,
    h`<b>In every design</b> the provider knows who sends to whom, when and how much, and can read those who never compared keys; where pictures are reported, it may notice that a report follows (declared; the options say where a check looked for it). Where there is a list, curator and centre hold it; the curator can list anything, unless others must endorse it. ${keysSaid()}`,
    h`<b>Threshold</b>: ${counts.length ? h`a voucher leaves for every picture; the centre can open those that match, ${thresholdSaid(counts)}. Below, cryptography hides pictures, not how many were sent or look listed.` : "none measured."}`,
    h`<b>Abuse</b>: ${exposedSaid()}`,
    h`<b>Nobody measured</b> real lists, real traffic, decisions of people, leaks by computing time or power (but for whether outcomes differ in time, and for guesses that the work of trying vouchers tells, which was counted, not timed: see the attacks), a country's scale. Options are not ranked.`,
  ];
  return section(
    "sheet",
    "Decision sheet",
    list(parts),
    alike_.length ? table("Found, by how designs match", ["letter, finds", ...FOUND().slice(1).map(([name]) => name)], alike_, "flat found") : "",
    table(h`Options, ${now.sources.introduced}`, head, rows, "decision"),
    glue(failed().map((row) => h`<p class="failed">${code(row)} failed: ${row.why}</p>`)),
    para(
      h`Assumed: ${number(given("items"))} pictures, ${number(given("setups"))} set-ups and ${number(DAYS * given("updates"))} updates a user and year. Price: what operators may charge each other for data, not a bill; servers' euros: not computed. Run of ${now.run.made_at}, digest ${now.run.digest.slice(0, 16)}.`,
    ),
  );
};
