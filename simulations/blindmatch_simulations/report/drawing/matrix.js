// The first screen: the options in the catalogue's order, a row for each design.
const RELATIONS = {
  near: "near copies",
  equal: "equal copies",
  category: "a category",
  nothing: "finds nothing",
};
const exactly = (run) =>
  unique(
    designs(run)
      .filter((one) => !one.design.differs)
      .map((one) => one.design.option)
      .concat(studies(run).map((one) => one.option)),
  );
const headline = (run = now.run) => {
  const ids = now.sources.options.map((one) => one.id),
    exact = exactly(run).filter((one) => ids.includes(one));
  const near = ids.filter((id) => !exact.includes(id) && designs(run).some((one) => one.design.option === id));
  const without = exact.filter((id) => designs(run).some((one) => one.design.option === id) && designs(run).every((one) => one.design.option !== id || one.design.relation === "nothing"));
  const studied = exact.filter((id) => !designs(run).some((one) => one.design.option === id));
  const parts = [
    [exact.filter((id) => !studied.includes(id) && !without.includes(id)), "measured"],
    [without, "with nothing to find"],
    [near, "imitated by a stand-in alone"],
    [studied, "studied without a design"],
  ].filter(([some], at) => some.length || !at);
  const words = parts.map(([some, how], at) => `${some.length} ${how}${at ? ` (${some.join(", ")})` : ""}`);
  return `Of ${ids.length} options, ${now.sources.introduced}: ${words.join(", ")}`;
};

// a share, of the reference corpus where it has one; of the run's own pictures it says of how many
const shareOf = (row, base, missing) => {
  const name = best(row, base),
    figure = figureOf(row, name);
  if (figure.value === null) return fig(row, name);
  if (ofFewer(row, name, figure)) return fig(row, name, h`<b>${countOf(figure, missing)}</b><br/>${soft("no share")}`);
  const of = (one) => {
    const shown = 100 * (missing ? 1 - one : one);
    return number(Number(shown.toPrecision(shown < 1 ? 2 : 3)));
  };
  const ends = [figure.low, figure.high].map(of);
  const range = soft(`(${(missing ? ends.reverse() : ends).join("\u2013")})`);
  if (tooFew(figure) && name === base && missing) return fig(row, name, h`<b>${countOf(figure, missing)}</b><br/>${soft("too few to say")}`);
  const share = of(figure.value) + PERCENT;
  if (name !== base) return fig(row, name, h`<b>${share}</b> ${range}`);
  return fig(row, name, h`<b>${share}</b> ${range}<br/>${soft(h`of ${number(figure.n)} sent`)}`);
};
const missedShare = (row) => shareOf(row, "recall", true);
// what a category flags wrongly is said as on the sheet: it was not measured, and is not nothing
const flaggedShare = (row) => (row.design.relation === "category" ? recalledWrong(row) : shareOf(row, "false_matches", false));
const recalledWrong = (row) =>
  opens(place(row.id, "wrongly"), wrongly(row), () => {
    const {title, source, provenance} = now.sources.volumes.fpr_classifier;
    return evidence(h`${code(row)}: flagged wrongly`, [
      ["what it is", title],
      ["source", h`${source} ${mark(provenance)}`],
    ]);
  });
// beside a share of the reference corpus: where this run's own pictures did not end as their hashes say
const unlike = (row) =>
  best(row, "recall") === "recall" || !valueOf(row, "wrong_outcomes")
    ? ""
    : h`<br/>${fig(row, "recall", h`<span class="soft run">run: ${asHashes(row)}</span>`)}`;

// beside a share that is of single copies, where a design opens none of them before enough match
const openedFrom = (row) => behaviourOf(row)?.always ?? row.design.parameters.threshold;
const opensFrom = (row) =>
  vouches(row) && row.design.parameters.threshold > 1
    ? h` ${soft(`opens from ${openedFrom(row)} matches with different hashes on,`)} ${soft(`${row.design.parameters.threshold} with more work`)}`
    : "";
const aloneOpensNone = (row) => (vouches(row) && row.design.parameters.threshold > 1 ? h` ${soft("none opens alone")}` : "");

// what whoever learns a fact can do; of one that shows the picture or its hash, at least what it says
const abuseOf = (fact) => fact.abuse || (fact.shows.some((one) => one === "picture" || one === "hash") ? fact.says : "");
// abuses that a design declares: fact, by whom (smallest coalitions), what for, who would notice; most severe first
const abuses = (row) => {
  const found = new Map();
  for (const leak of row.design.declared)
    for (const fact of leak.facts) {
      if (leak.source !== "design" && !fact.topic) continue;
      if (!abuseOf(fact)) continue;
      const known = found.get(fact.name) || {name: fact.name, fact, severity: fact.severity, leaks: []};
      found.set(fact.name, {...known, leaks: [...known.leaks, leak]});
    }
  return bySeverity([...found.values()].map((one) => ({...one, by: smallest(one.leaks.map((leak) => leak.parties))})));
};
const smallest = (groups) =>
  groups.filter(
    (one, at) =>
      groups.findIndex((other) => other.join() === one.join()) === at &&
      !groups.some((other) => other.length < one.length && other.every((party) => one.includes(party))),
  );
const together = (groups, device, between = "; ") =>
  glue(
    groups.map((parties) =>
      glue(
        parties.map((party) => (party === "device" ? device : partyName(party))),
        " with ",
      ),
    ),
    between,
  );
// whoever makes a device report needs no help of those whom every report goes to
const forcers = (one) => (one.fact.topic === "forced" ? smallest(one.by.map((parties) => parties.filter((party, at, all) => !AFTER.includes(party) || all.length === 1))) : one.by);
const byWhom = (one, between) => together(forcers(one), "any user", between);
const notice = (one) => one.fact.noticed_by || "not measured";
const abuseSaid = (one, whom) => h`${whom} ${abuseOf(one.fact)} ${soft(h`(${notice(one)})`)}`;
const abuseLine = (one) => abuseSaid(one, byWhom(one));
const abuseEvidence = (row) =>
  evidence(
    h`${code(row)}: abuse that is declared, and who would notice`,
    abuses(row)
      .map((one) => [
        h`${byWhom(one)} ${abuseOf(one.fact)} (${one.severity})`,
        h`${one.fact.says}. Who would notice: ${notice(one)}.`,
      ])
      .concat([
        ["other lists", listAbuse(row)],
        ["attacks of this run", attacksOn(row) || (attackRows().length ? "none on this design; those that go for all of its kind are below" : "not measured: no attacks file beside this run")],
        ["attacks not played", notPlayedOn(row) || "none"],
        ["row in results.json", h`rows, id <code>${row.id}</code>, design, <code>declared</code>`],
      ]),
  );
const proven = (row) => valueOf(row, "proof_bytes") !== null;
const outside = (row) => {
  if (proven(row)) return "with independent witnesses of the log, outsiders can be shown that all devices have one list, and who endorsed an entry";
  if (figureOf(row, "proof_bytes").why.startsWith(NOTHING)) return "no outsider can be shown which list a role answers by";
  return "no proof to outsiders was measured";
};
const LISTED = {nothing: "there is no list", category: "whoever makes the model chooses what it flags"};
const listAbuse = (row) =>
  LISTED[row.design.relation] || h`whoever makes the list can put anything on it; ${outside(row)}`;
const abuse = (row) => {
  const shownFirst = abuses(row)
    .filter((one) => one.fact.topic !== "read")
    .slice(0, 2);
  const words = shownFirst.length
    ? glue(shownFirst.map(abuseLine), h`<br/>`)
    : row.design.relation === "nothing"
      ? abuses(row).length ? "none but every design\u2019s" : "none declared"
      : "nothing beyond the list itself";
  return opens(place(row.id, "abuse"), words, () => abuseEvidence(row));
};

// built-in designs have a name in plain words; any other has its own
const inPlain = (rows, words) => {
  const ids = rows.map((row) => row.id);
  return h`<span class="design" data-design="${ids.join(" ")}" title="${ids.join(", ")}: ${optionOf(optionIn(rows[0])).name}">${words}</span>`;
};
const nameOf = (row) => (now.sources.names[row.id] ? inPlain([row], now.sources.names[row.id]) : h`<code data-design="${row.id}">${row.id}</code>`);
const code = (row) => (now.sources.names[row.id] ? inPlain([row], `${optionIn(row)} ${now.sources.names[row.id]}`) : nameOf(row));
// of an option with one design its name or id is enough
const alone = (row) => now.sources.names[row.id] && now.run.rows.filter((one) => optionIn(one) === optionIn(row)).length === 1;
const short = (row) => (alone(row) ? inPlain([row], optionIn(row)) : code(row));
const rowName = (option, row, at = 0) =>
  h`<b>${option.id}</b> ${alone(row) ? inPlain([row], option.name) : h`${at ? "" : h`${option.name}: `}${nameOf(row)}`}`;
const designRow = (option, row, at = 0) => [
  h`${rowName(option, row, at)}${row.design.differs ? h` ${soft(to(place(row.id, "stand-in"), "stand-in"))}` : ""}`,
  sees(row),
  h`${missedShare(row)}${unlike(row)}${opensFrom(row)}`,
  h`${flaggedShare(row)}${aloneOpensNone(row)}`,
  costAt(row, target(row), place(row.id, "cost")),
  abuse(row),
];
const STUDY_COSTS = {
  sender_u: "CPU of the sender",
  authority_u: "CPU of an authority that opens",
  escrow_bytes: "kept by the provider",
};
const mostOpened = (attempts) => attempts.reduce((most, one) => (one.messages > most.messages ? one : most));
// what authorities open that keep to the rule, and what whoever opens the most does: never one without the other
const openedSaid = (row) => {
  const byWarrant = row.opened.filter((one) => one.who.startsWith("authorities")),
    told = unique([...(byWarrant.length ? [mostOpened(byWarrant)] : []), mostOpened(row.opened)]);
  return told.map((one) => h`${one.who}, ${one.holders} of them: ${one.messages} of ${one.of_messages} messages opened`);
};
const openedWorst = (row) => h`${glue(openedSaid(row), "; ")} ${soft("(who notices: not measured)")}`;
const studyRow = (option, row) => {
  const none = opens(place(row.id, "finds"), absent(NOTHING), () =>
    evidence(row.id, [
      ["why", "it finds nothing: it opens messages"],
      ["what it is", row.what],
    ]),
  );
  return [
    h`${rowName(option, row)} ${soft("a study")}`,
    studySees(row),
    none,
    none,
    opens(
      place(row.id, "cost"),
      row.figures.escrow_bytes
        ? h`no matching; ${bytes(given("volume") * row.figures.escrow_bytes.value)} of keys kept, more each day`
        : absent(""),
      () =>
        evidence(
          h`${code(row)}: cost`,
          Object.entries(row.figures).map(([name, one]) => [
            h`${STUDY_COSTS[name] || name}, a message`,
            h`${number(one.value)}\u00a0${one.unit}`,
          ]),
        ),
    ),
    opens(
      place(row.id, "abuse"),
      openedWorst(row),
      () =>
        evidence(
          h`${code(row)}: what opens`,
          row.opened.map((one) => [h`${one.who}, ${one.holders}`, h`${one.messages} of ${one.of_messages} messages`]),
        ),
    ),
  ];
};
const emptyRow = (option) => {
  const none = opens(place(option.id, "none"), absent(""), () =>
    evidence(h`Option ${option.id}`, [["why not measured", "no design of this option was measured in this run"]]),
  );
  return [h`<b>${option.id}</b> ${option.name}`, recalled(option), none, none, none, none];
};
const optionRows = (option) => {
  const own = designs().filter((one) => one.design.option === option.id && !baseOf(one)),
    study = studies().filter((one) => one.option === option.id);
  own
    .filter((one) => one.design.differs)
    .forEach((row) =>
      now.evidence.set(place(row.id, "stand-in"), () =>
        evidence(h`${code(row)} stands in for ${option.id}`, [["it differs", plainly(row.design.differs)]]),
      ),
    );
  const rows = own.map((row, at) => designRow(option, row, at)).concat(study.map((row) => studyRow(option, row)));
  return rows.length ? rows : [emptyRow(option)];
};
const usualSaid = () => {
  const states = ({things}) => groupsBy(THINGS.filter((thing) => things[thing]), (thing) => things[thing].state);
  const said = (box) => glue(states(box).map((each) => h`${glue(each.map((thing) => thing[0].toUpperCase()), ", ")} ${box.things[each[0]].state}`), ", ") || "nothing";
  return h`Unless drawn, ${glue(usual().map((box) => h`${box.party === "centre" ? term("centre") : partyName(box.party)}: ${said(box)}`), "; ")}. `;
};
const legend = () =>
  h`<p class="legend">${glue(
    THINGS.map((one) => h`<b>${one[0].toUpperCase()}</b> ${one}`),
    ", ",
  )}. ${glue(
    [
      ["observed", "observed"],
      ["declared", "declared, not seen"],
      ["unchecked", "declared, not checked"],
      ["sealed", "sealed"],
    ].map(
      ([state, words]) =>
        h`<svg class="sees key" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true"><g class="s-${state}" transform="translate(1 -13.5)"><rect x="0" y="14" width="12" height="13" rx="2"/></g></svg> ${words}`,
    ),
    "; ",
  )}. <b>H</b> is the whole hash, a blurred likeness that can be redrawn, or the part of it that the row names; <b>O</b>, whether a picture matched, known while it is sent. Dashed: of reported pictures, opened vouchers or opened accounts alone. ${designs().length ? usualSaid() : ""}Brackets: 95 % intervals. <a id="picture" download="options.svg" href="#matrix">Save picture</a></p>`;
const listed = () => {
  const lengths = given("list") ? [given("list")] : unique(designs().map(entries));
  return h`${lengths.length ? between(Math.min(...lengths), Math.max(...lengths)) : "no"} entries`;
};
// of how many a column's shares are: of the reference corpus's, else at most of so many
const ofHowMany = (base, name, words) => {
  const whole = designs().find((row) => best(row, base) === name);
  const most = Math.max(0, ...designs().map((row) => figureOf(row, base).n || 0));
  return whole ? words(figureOf(whole, name)) : h`of ${most ? number(most) : "the"} sent`;
};
const HEAD = () => [
  "Option, design",
  "Who sees what",
  h`Missed, ${ofHowMany("recall", "corpus_recall", (one) => h`of ${number(one.n)} copies of photographs in the ${term("reference corpus")}, each edit alike`)}`,
  h`Flagged wrongly, ${ofHowMany("false_matches", "corpus_false", (one) => h`of its ${number(one.n)} pictures of ${kindsOfCorpus().length} kinds, each against a ${listsHead()}; photographs alone: see the sheet`)}`,
  h`Server cores; bytes a day, at ${number(given("volume") / 1e6)} million photos, ${listed()}`,
  "Abuse it allows (who would notice)",
];
const matrix = () => {
  const known = new Set(now.sources.options.map((one) => one.id));
  const rest = designs()
    .filter((row) => !known.has(row.design.option))
    .map((row) => designRow({id: row.design.option, name: "not in the catalogue"}, row));
  const variants = designs().filter(baseOf);
  const varied = unique(now.sources.variants.filter((one) => variants.some((row) => Object.hasOwn(one.of, row.id))).map((one) => one.says));
  const broken = glue(failed().map((row) => h`<p class="failed">${code(row)} failed: ${row.why}</p>`));
  const lists = h`Missed: of these copies, not real traffic.${designs().some(proven) ? "" : " No proof to outsiders was measured."}${given("list") ? "" : " Real lists are longer."}`;
  return section(
    "matrix",
    h`<span class="headline">${headline()}</span>`,
    legend(),
    table(
      "The options, in the catalogue's order; open any number",
      HEAD().slice(0, -1),
      now.sources.options
        .flatMap(optionRows)
        .concat(rest)
        .map((cells) => cells.slice(0, -1)), // worst abuse stands on the decision sheet
      "matrix",
    ),
    variants.length
      ? fold("variants", h`Variants: ${glue(varied, "; ")}`, table("Variants", HEAD().slice(0, -1), variants.map((row) => designRow(optionOf(row.design.option), row, 1).slice(0, -1)), "matrix"))
      : "",
    broken,
    para(h`${lists} ${usedUpSaid()}`),
  );
};
const skipped = () => {
  const own = designs().filter((row) => row.design.relation !== "nothing" && row.design.end_to_end);
  const sent = unique(own.map((row) => row.offence.sent));
  const all = sent.length === 1 && own.every((row) => row.offence.sent === row.offence.delivered);
  return all ? h`all ${sent[0]} listed pictures passed in every end-to-end encrypted design` : "some listed pictures passed";
};
