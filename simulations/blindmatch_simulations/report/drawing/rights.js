// Rights in five questions, frameworks and the checklist: answers from the run. No verdict, no rating.
const optionIn = (row) => row.design?.option ?? row.option ?? "";
// ---- the five questions: who answers alike stands together
const beyondEnds = (row) => sight(row).filter((box) => !["device", ...AFTER].includes(box.party));
const partiesThat = (row, holds) => glue(beyondEnds(row).filter(holds).map((box) => partyName(box.party)), ", ");
// the fewest parties that open innocent pictures together: in a played attack, else by what the design declares of them
const opened = (row) => {
  const real = exposedOn(row, now.sources.readable),
    imitated = exposedOn(row, Object.keys(now.sources.imitated));
  const reported = row.design.declared.filter(({parties: [party, more]}) => AFTER.includes(party) && !more).flatMap((leak) => leak.facts.map((fact) => fact.name));
  const shows = ({source, facts}) => source === "design" && facts.some((fact) => fact.shows.includes("picture") && !reported.includes(fact.name));
  const declared = row.design.declared.filter(shows).map((leak) => leak.parties);
  // what an imitation lets through is no reason to leave out who does it where the real thing runs
  const parts = smallest([...real.map((one) => one.adversary.parties), ...declared]).map((parties) => {
    const won = real.find((one) => one.adversary.parties.join() === parties.join());
    return won ? attackLink(won, h`${byAttackers(won)}, in a played attack`) : h`${withWhom(parties)}, as declared`;
  });
  return [...parts, ...imitated.map((one) => attackLink(one, h`${byAttackers(one)} alone, ${now.sources.imitated[one.trace.exposes]}`))];
};
// a coarse copy that a played attack made of what is sent
const redrawn = (row) =>
  exposedOn(row, now.sources.redrawn).map((one) => attackLink(one, h`${byAttackers(one)}, as a coarse copy, in a played attack`));
// the centre sees what a device was made to report
const forcedOn = (row) =>
  abuses(row)
    .filter((one) => one.name === "forced_report")
    .map((one) => h`${partyName("centre")}, where ${byWhom(one)} has a picture reported`);
const readers = (row) => {
  if (row.kind === "study") return "authorities, of opened accounts";
  const [plain, sealed] = [(state) => state && state !== "sealed", (state) => state === "sealed"].map((fits) =>
    partiesThat(row, ({things}) => fits(things.picture?.state)),
  );
  if (String(plain)) return plain;
  const parts = [...(String(sealed) ? [h`${sealed}, under a seal`] : []), ...opened(row), ...redrawn(row), ...forcedOn(row)];
  return parts.length ? glue(parts, "; ") : "nobody else";
};
const holders = (row) => {
  if (row.kind === "study") return "nothing more";
  const shown_ = unique([...(vouches(row) ? [`a voucher, closed by cryptography below ${row.design.parameters.threshold ? `${row.design.parameters.threshold} matches` : "its threshold"}`] : []), ...beyondEnds(row).map(({party}) => shownTo(row, party)[0])].filter(Boolean)),
    asked = Object.keys(row.design.roles).length,
    // as on the sheet: whoever is asked may be told by whom
    whose = vouches(row) || beyondEnds(row).some(({party}) => innocentTo(row, party).includes(WHOSE));
  const words = shown_.length ? shown_ : asked ? [whose ? "that it was asked" : "only that it was asked"] : [];
  return words.length ? glue([...words, ...(whose ? [WHOSE] : [])].map((one) => to(place(row.id, "sees"), one)), ", ") : "nothing more";
};
const checkable = (row) =>
  row.kind === "study" || LISTED[row.design?.relation] ? "no list" : proven(row) ? "yes, if the log\u2019s witnesses are independent" : outside(row).startsWith("no proof") ? absent("") : "no";
const foundNear = (row) => {
  if (row.kind === "study" || row.design.relation === "nothing") return "nothing";
  const name = best(row, "recall_pairs");
  if (tooFew(figureOf(row, name))) return fig(row, name, "too few to say");
  if (valueOf(row, name) === null) return row.design.relation === "category" ? "a category" : fig(row, name);
  return fig(row, name);
};
const FIVE = {read: readers, held: holders, checked: checkable, found: foundNear};
const sameAnswers = (rows, cell) =>
  glue(
    groupsBy(rows, (row) => saying(cell(row)))
      .sort((a, b) => a.length - b.length)
      .map((each, at, all) => h`<b>${cell(each[0])}</b>: ${at === all.length - 1 && at ? "the others" : named(each)}`),
    "; ",
  );
const withstoodOf = (names, where = "after") => {
  const played = names.map(attackNamed).filter((rows) => rows.length),
    won = played.filter((rows) => rows.some((one) => one.succeeded)).map(([row]) => attackName(row.id));
  return played.length
    ? h`${to(where, `${won.length} of ${played.length} attacks on this succeeded`)}${won.length && where !== "after" ? `: ${won.join(", ")}.` : "."}`
    : h`Attacks: ${absent("")}.`;
};
// a server that answers with a match that is none
const forcedIn = (rows) => {
  const found = rows.filter((row) => row.kind === "design" && abuses(row).some((one) => one.name === "forced_report"));
  return found.length ? h`${to("abuse", "Forced reports")} are declared: ${named(found)}; refused, after the centre has seen the picture. ` : "";
};
const fiveQuestions = (rows) =>
  table(
    "Five questions",
    ["right", "question", "what this run says"],
    now.sources.five.map((one) => [
      one.right,
      one.ask,
      h`${one.answer ? h`${sameAnswers(rows, FIVE[one.answer])}. ` : ""}${one.attacks ? h`${withstoodOf(one.attacks)} ${forcedIn(rows)}` : ""}${one.says || ""}`,
    ]),
    "five",
  );
const optionOf = (id) => now.sources.options.find((one) => one.id === id) || {id, name: ""};
const rightsPart = () => {
  const rows = now.sources.options.flatMap((option) => [...designs(), ...studies()].filter((row) => optionIn(row) === option.id));
  return section(
    "rights",
    "What does it mean for rights?",
    rows.length ? fiveQuestions(rows) : "",
    fold("frameworks", "Criteria of two published frameworks", frameworks()),
  );
};
const figureNames = (names) =>
  glue(
    names.flatMap((name) => [kindOf(name).evidence, name].filter(Boolean)).map((name) => kindOf(name).title),
    "; ",
  );
const frameworks = () =>
  table(
    "Criteria and figures",
    ["criterion", "asks", "figures here", "part", "not measured here"],
    now.sources.frameworks.map((one) => [
      h`${one.of}: <b>${one.criterion}</b> ${mark(one.provenance)}`,
      one.asks,
      figureNames(one.figures) || absent(""),
      glue(
        one.parts.map((part) => to(part, part, "part")),
        ", ",
      ),
      one.unmeasured || "",
    ]),
  );
const bugs = () =>
  table(
    "Risks of scanning on the device (Abelson and others, 2021), in our words",
    ["risk", "attacks played", "figures", "not covered"],
    now.sources.bugs.map((one) => [
      h`${one.risk} ${mark(one.provenance)}`,
      one.attacks.length ? attacksSay(one.attacks) : absent(""),
      figureNames(one.figures) || "none",
      one.unmeasured || "",
    ]),
  );
const glossary = () =>
  fold(
    "glossary",
    "Glossary",
    h`<dl>${glue(
      Object.entries(now.sources.glossary).map(([term, says]) => h`<dt id="term-${place(term)}">${term}</dt><dd>${says}</dd>`),
    )}</dl>`,
  );
const sourcesPart = () =>
  fold("sources", "Figures from outside, with their sources", [
    table(
      "Figures from outside",
      ["figure", "value", "source"],
      Object.entries(now.sources.volumes).map(([ident, one]) => [one.title, outsideLink(ident), one.source]),
    ),
    para(
      "Verified: read at its source. Secondary: read where somebody quotes it. Recalled: from memory, may be wrong. Assumption: ours, without a source.",
    ),
  ]);
