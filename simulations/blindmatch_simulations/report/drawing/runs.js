// Any number of runs side by side, and where each comes from.
const TIMED = ["ms/picture", "ms/query", "s", "MiB", "u"];
const differ = (left, right, name) => {
  const a = figureOf(left, name),
    b = figureOf(right, name),
    unit = kindOf(name).unit || a.unit;
  if (a.value === null || b.value === null) return a.value !== b.value;
  if (unit === "share" || TIMED.includes(unit)) {
    const [lowA, highA, lowB, highB] = [a.low ?? a.value, a.high ?? a.value, b.low ?? b.value, b.high ?? b.value];
    return lowA > highB || lowB > highA;
  }
  return a.value !== b.value;
};
const versionOf = (run) => run.machine.packages.blindmatch || "no version";
const SAME = ["workload", "seed", "options", "machine"];
const runFacts = (run, at) => [
  h`run ${at + 1}`,
  run.workload || run.command,
  h`${run.made_at}, ${versionOf(run)}`,
  h`${run.machine.processor}, ${run.machine.cores} cores`,
  headline(run),
  SAME.filter((name) => JSON.stringify(run[name]) !== JSON.stringify(now.run[name])).join(", ") || "nothing",
];
const inRun = (row, at, name) => {
  const figure = figureOf(row, name),
    beside = spread(figure, kindOf(name).unit),
    run = now.runs[at];
  const held = () => figureEvidence(row, name, figure, kindOf(name).rows, run.command);
  return h`${opens(place("run", String(at + 1), row.id, name), shown(name, figure), held)}${beside ? h` ${soft(`(${beside})`)}` : ""}`;
};
const declaredAs = (row) => JSON.stringify([row.design.declared, row.design.version, row.design.parameters]);
const comparedDesign = (id) => {
  const rows = now.runs.map((run) => run.rows.find((one) => one.id === id && one.kind === "design"));
  const title = (words) => h`<code>${id}</code>: ${words}`,
    where = h`run-${place(id)}`;
  const holding = rows.flatMap((row, at) => (row ? [at + 1] : []));
  if (holding.length < rows.length) return h`<p>${title(h`in run ${holding.join(", ")} only`)}</p>`;
  const names = Object.keys(now.sources.figures).filter((name) => rows.some((row) => differ(rows[0], row, name)));
  const lines = names.map((name) => [kindOf(name).title, ...rows.map((row, at) => inRun(row, at, name))]);
  const other = unique(rows.map(declaredAs)).length > 1 ? "; what it declares, its version or parameters differ" : "";
  const head = ["figure", ...now.runs.map((run, at) => h`run ${at + 1}, ${run.made_at.slice(0, 10)}, ${versionOf(run)}`)];
  const body = lines.length ? table(h`${id}: figures that differ`, head, lines) : "";
  return fold(where, title(h`${lines.length ? "figures differ" : "no figure differs"}${other}`), body);
};
const compared = () => glue(unique(now.runs.flatMap((run) => designs(run).map((row) => row.id))).map(comparedDesign));
const runsPart = () =>
  now.runs.length < 2
    ? ""
    : section(
        "runs",
        "How do the runs differ?",
        table(
          "Runs on this page",
          ["run", "workload", "made, by version", "machine", "options", "differs from the shown one in"],
          now.runs.map(runFacts),
        ),
        para(
          "Figures that differ are shown: shares whose 95 % intervals, and timings whose ranges, do not overlap; counts and bytes that are not equal. Timings of different machines are not comparable.",
        ),
        compared(),
      );
const origin = () => {
  const run = now.run,
    machine = run.machine;
  return fold(
    "again",
    "How to get this again",
    facts([
      ["command", h`<code>${run.command}</code>`],
      ["workload", h`${run.workload}, seed ${run.seed}; workload.toml beside this page`],
      ["made", run.made_at],
      [
        "machine",
        h`${machine.processor}, ${machine.cores} cores, ${machine.memory_mib} MiB, ${machine.system}, ${machine.python}`,
      ],
      [
        "packages",
        glue(
          Object.entries(machine.packages).map((one) => one.join(" ")),
          ", ",
        ),
      ],
      ["results", h`results.json, format ${run.format} version ${run.version}, digest <code>${run.digest}</code>`],
    ]),
  );
};
const more = () => section("more", "Words and sources", glossary(), sourcesPart());
const PARTS = [
  ["sheet", "Decision sheet", sheetPart],
  ["year", "A year", yearPart],
  ["matrix", "Options", matrix],
  ["missed", "Missed", missedPart],
  ["flagged", "Flagged wrongly", flaggedPart],
  ["kinds", "Kinds", kindsPart],
  ["cost", "Cost", costPart],
  ["abuse", "Abuse", abusePart],
  ["client", "Modified client", clientPart],
  ["after", "False report", afterPart],
  ["unmeasured", "Not measured", unmeasuredPart],
  ["rights", "Rights", rightsPart],
  ["runs", "Runs", runsPart],
  ["glossary", "Glossary", more],
];

// declared facts in plain words, where the page has such; of the messenger's those of parties and reports that a design has
const inPlainWords = (run, said) => {
  const fact = (one) => ({...one, says: Object.hasOwn(said, one.says) ? said[one.says] : one.says});
  const leaks = (one) => one.design.declared.filter((leak) => holdsOf(one, leak)).map((leak) => ({...leak, facts: heldFacts(one, leak).map(fact)}));
  const row = (one) => (one.kind === "design" ? {...one, design: {...one.design, declared: leaks(one)}} : one);
  return {...run, rows: run.rows.map(row)};
};
const PLAIN = new WeakMap(); // by run: a redraw says nothing anew
// data: {runs, attacks, sources}; state: {run, given, open, kept, sheet} -> {main, nav, foot, evidence}
const draw = (data, state) => {
  const runs = data.runs.map((one) => (PLAIN.has(one) ? PLAIN : PLAIN.set(one, inPlainWords(one, data.sources.said))).get(one));
  const run = runs[state.run] || runs[0];
  now = {...data, runs, run, given: state.given, open: new Set(state.open), kept: state.kept, evidence: new Map(), once: new Map()};
  const drawn = PARTS.map(([id, name, part]) => [id, name, part()]).filter((one) => one[2]); // numbers of each view open on the other
  const nav = glue(drawn.map(([id, name]) => h`<li>${to(id, name, "part")}</li>`));
  return {
    main: glue(drawn.filter(([id]) => (id === "sheet") === Boolean(state.sheet)).map((one) => one[2]), "\n"),
    nav: h`<ul>${nav}</ul>`,
    foot: origin(),
    evidence: now.evidence,
  };
};
