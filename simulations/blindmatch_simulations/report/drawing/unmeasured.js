// What nobody measured.
const missingFigures = () =>
  Object.keys(now.sources.figures)
    .map((name) => {
      const rows = inOrder().filter((row) => valueOf(row, name) === null && !figureOf(row, name).why.startsWith(NOTHING));
      return rows.length
        ? [
            esc(kindOf(name).title),
            alike(rows, (row) => [esc(figureOf(row, name).why)])
              .map(([who, why]) => `${who}: ${why}`)
              .join("<br/>"),
          ]
        : null;
    })
    .filter(Boolean);
const unmeasuredPart = () => {
  const kinds = now.run.kinds?.length ? [] : ["Errors by kind of picture: this run looked at none."];
  const known = new Set(
    designs()
      .map((row) => row.design.option)
      .concat(studies().map((row) => row.option)),
  );
  const rest = now.sources.options.filter((one) => !known.has(one.id)).map((one) => `${esc(one.id)} ${esc(one.name)}`);
  const none = designs().some(proven) ? [] : ["Proofs to the public, in any option: what an outsider can check about a list."];
  return section(
    "unmeasured",
    "What did nobody measure?",
    list([
      ...none,
      ...(rest.length ? [`Options without a design in this run: ${rest.join("; ")}.`] : []),
      ...kinds,
      ...now.sources.uncovered.map(esc),
    ]),
    fold(
      "missing",
      "Figures that this run lacks, and why",
      table("Not measured in this run", ["figure", "design: why"], missingFigures()),
    ),
    fold(
      "assumptions",
      "What every figure rests on",
      table(
        "Assumptions",
        ["assumption", "concerns", "what breaks if it is false", "how far it is covered here"],
        now.sources.assumptions.map((one) => [esc(one.holds), esc(one.concerns), esc(one.breaks), esc(one.covered)]),
      ),
    ),
  );
};
