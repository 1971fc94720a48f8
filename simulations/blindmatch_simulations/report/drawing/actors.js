// Who can do what beyond end-to-end encryption without detection (0b): from rows of attacks alone.
// whoever answers, and who makes its hardware: by whom an attack holds
const HOLDERS = {"matcher, third party": ["matcher", "third_party", "party_a", "party_b"], vendor: ["vendor"]};
const actors = () => [...now.sources.actors, ...Object.keys(HOLDERS)];
const acts = (row, actor) => (HOLDERS[actor] ? row.adversary.parties.some((one) => HOLDERS[actor].includes(one)) : row.trace.actors.includes(actor));
// by the one name that this page has for each
const called = (words) => now.sources.called[words] ?? words;
const actorCells = () => {
  const once = new Map(attackRows().map((row) => [row.id, row]));
  const rows = attackRows().concat(rowsOfKind("attack not played"));
  const held = new Map(rows.map((row) => [String(row.parameters.design), []]));
  rows.forEach((row) => {
    const same = row.kind === "attack" ? row : goesFor(row, once.get(row.id)) && once.get(row.id);
    if (same?.trace) held.get(String(row.parameters.design)).push(same);
  });
  return (actor) =>
    [...held].map(([design, all]) => {
      const own = all.filter((row) => acts(row, actor));
      const exposed = own.filter((row) => row.succeeded && row.trace.beyond_e2ee);
      return {design, own, exposed};
    });
};
// a design of an attack in the words of this run, if it has it
const calledIn = (id) => {
  const row = now.run.rows.find((one) => one.id === id && one.kind === "design");
  return row ? short(row) : h`<code>${id}</code>`;
};
const left = ({notices, proof}) => [called(notices), proof ? h`${proof.file}: <code>${proof.command}</code>, to ${proof.to}` : "none"];
// under what condition an attack exposed it: what its adversary has beside what its parties hold
const holding = ({adversary, figures}) => {
  const more = Object.entries(now.sources.conditions).flatMap(([name, words]) => (Object.hasOwn(figures, name) ? [words] : []));
  return glue([adversary.has, ...more].filter(Boolean).map(plainly), ", and ");
};
const conditionIn = ({design, row}) => h`with what ${byAttackers({...row, parameters: {design}})} holds: ${holding(row)}`;
const actorLines = (actor, of) => {
  const named_ = (rows) => glue(rows.map((one) => calledIn(one.design)), ", ");
  const got = of.flatMap(({design, exposed}) => exposed.map((row) => ({design, row, trace: row.trace})));
  const lines = groupsBy(got, (one) => JSON.stringify([one.trace.exposes, ...left(one.trace)])).map((each) => [
    h`${each[0].trace.exposes} ${soft(h`(${glue(unique(each.map((one) => conditionIn(one))), "; or ")})`)}`,
    glue(groupsBy(each, (one) => one.design).map(([one]) => attackLink(one.row, calledIn(one.design))), ", "),
    ...left(each[0].trace),
  ]);
  const rest = (words, wanted) => {
    const found = of.filter(wanted);
    return found.length ? [[words, named_(found), "", ""]] : [];
  };
  return [
    [h`<b>${called(actor)}</b>`],
    ...lines,
    ...rest(now.sources.nothing_played, (one) => one.own.length && !one.exposed.length),
    ...rest("not played", (one) => !one.own.length),
  ];
};
const things = (rows) => unique(rows.map((row) => row.trace.exposes)).length;
const actorsPart = () => {
  const of = once("actors", actorCells);
  if (!attackRows().some((row) => row.trace)) return [];
  const lines = actors().map((actor) => {
    const rows = of(actor).flatMap((one) => one.exposed);
    // how many promises, and what most rows say of them, since a number alone says little
    const counted = (said, wanted = () => true, more = "") => {
      const found = rows.filter(wanted),
        each = groupsBy(found, said).sort((a, b) => b.length - a.length),
        all = h`${to("actors", number(things(found)))}${more}`;
      return each.length ? h`${all}${each.length > 1 ? ", e.g." : ":"} ${said(each[0][0])}` : all;
    };
    return of(actor).some((one) => one.own.length)
      ? [
          called(actor),
          counted((row) => row.trace.exposes, undefined, h` ${soft(h`(${exposedIn(actor)})`)}`),
          counted((row) => called(row.trace.notices), (row) => row.trace.notices !== now.sources.nobody),
          to("actors", number(things(rows.filter((row) => row.trace.proof)))),
        ]
      : [called(actor), "not played", "", ""];
  });
  const head = ["who acts", "kinds of things exposed beyond 0b (designs, played or alike)", "of these, noticed by", "shown by a file"];
  const every = actors().flatMap((actor) => actorLines(actor, of(actor)));
  return [
    table("Exposed by played attacks; rows overlap", head, lines, "flat"),
    fold("actors", "By actor: what, who notices, which file proves it", [
      para(h`Most attacks are not played on 0a: its provider reads every picture by design. An attack that ${now.sources.same} is played once; here each design that it concerns is counted and named, with the outcome of the one that it was played on. These lines say what attacks were played for; what is declared besides, of stolen files for instance, stands on the sheet and among the declared facts.`),
      table("By actor", ["exposed", "options", "noticed by", "file, and what verifies it"], every),
    ]),
  ];
};
const exposedIn = (actor) => once("actors", actorCells)(actor).filter((one) => one.exposed.length).length;
const exposedTo = (actor) => {
  const of = once("actors", actorCells)(actor);
  const [all, noticed] = [() => true, (row) => row.trace.notices !== now.sources.nobody].map((wanted) => things(of.flatMap((one) => one.exposed).filter(wanted)));
  return of.some((one) => one.own.length) ? `${all} (${noticed}; ${exposedIn(actor)})` : "not played";
};
const exposers = () => groupsBy(attackRows().filter((row) => row.succeeded && row.trace?.beyond_e2ee), (row) => row.id);
// of the attacks that exposed anything, each once: how many nobody notices, how many leave a file
const exposedSaid = () => {
  const all = exposers(),
    counted = (wanted) => number(all.filter((rows) => rows.every(wanted)).length),
    files = unique(all.flat().filter((row) => row.trace.proof).map(({trace: {proof}}) => `${proof.file}, held by ${proof.to}`)),
    filed = number(all.filter((rows) => rows.some((row) => row.trace.proof)).length);
  const unseen = counted((row) => row.trace.notices === now.sources.nobody),
    bare = counted((row) => !row.trace.proof);
  return all.length ? h`${to("actors", number(all.length))} played attacks exposed more than 0b: ${unseen} nobody could notice, ${bare} leave no file${files.length ? `; ${filed} leave ${files.join("; ")}` : ""}. Kinds of things exposed (of these noticed; in how many of ${number(designs().length)} designs, played or alike), by actors, who overlap: ${glue(actors().map((actor) => `${called(actor)} ${exposedTo(actor)}`), "; ")}. ` : absent("");
};
// Prevention: nothing is reported. What the sender, and what others were told, by runs from end to end.
const PREVENTION = {warned: ["warn", "by calls they get"], refused: ["refuse", "since no message follows the query"]};
const TOLD = ["sender", "arrived", "centre", "provider and whoever is asked"];
// whether the server that is asked knows what matches, whatever the device does then
const isTold = (row) => designs().find((one) => one.id === row.parameters.design)?.design.learns.includes("server") ?? false;
// of each consequence the designs whose runs came to the same, and what these came to, in the order of `TOLD`
const prevented = () =>
  Object.entries(PREVENTION).flatMap(([id, [consequence, how]]) =>
    groupsBy(attackNamed(id), (row) => JSON.stringify([row.figures, id === "warned" && isTold(row)])).map((rows) => {
      const isShown = id === "warned" && isTold(rows[0]);
      const [of, count] = [number(rows[0].figures.achieved.n), (name) => number(rows[0].figures[`achieved: ${name}`]?.value ?? 0)];
      const cells = [
        `told of ${count("listed pictures of which the sender is told")} of ${of} listed pictures`,
        `${count("listed pictures that arrive")} of ${of} listed, ${count("other pictures that arrive")} of ${of} others`,
        `${count("reports at the centre")} reports`,
        isShown ? "every match, from the hashes" : `${count("listed pictures told by other calls")} of ${of} matches, ${how}`,
      ];
      return {consequence, rows, cells: cells.map((words) => attackLink(rows[0], words))};
    }),
  );
const prevention = () => {
  const lines = prevented().map(({consequence, rows, cells}) => [
    h`<b>${consequence}</b>: ${glue(rows.map((row) => attackLink(row, calledIn(row.parameters.design))), ", ")}`,
    ...cells,
  ]);
  const says = h`Recall and false matches are those of the design. Times are not looked at.`;
  const title = "Prevention: warn or refuse, and report nothing";
  return lines.length ? [fold("prevention", title, [table("Prevention", ["consequence: designs", ...TOLD], lines), para(says)])] : [];
};
