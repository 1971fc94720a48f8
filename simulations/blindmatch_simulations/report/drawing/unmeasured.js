// What nobody measured.
const missingFigures = () =>
  Object.keys(now.sources.figures)
    .map((name) => {
      const rows = inOrder().filter((row) => valueOf(row, name) === null && !figureOf(row, name).why.startsWith(NOTHING));
      return rows.length
        ? [
            kindOf(name).title,
            glue(
              alike(rows, (row) => [plainly(figureOf(row, name).why)]).map(([who, why]) => h`${who}: ${why}`),
              h`<br/>`,
            ),
          ]
        : null;
    })
    .filter(Boolean);
const unmeasuredPart = () => {
  const known = new Set(
    designs()
      .map((row) => row.design.option)
      .concat(studies().map((row) => row.option)),
  );
  const rest = now.sources.options.filter((one) => !known.has(one.id)).map((one) => h`${one.id} ${one.name}`);
  const none = designs().some(proven) ? [] : ["Proofs to the public, in any option: what an outsider can check about a list."];
  return section(
    "unmeasured",
    "What did nobody measure?",
    list([
      ...none,
      ...(rest.length ? [h`Options without a design in this run: ${glue(rest, "; ")}.`] : []),
      ...now.sources.uncovered,
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
        now.sources.assumptions.map((one) => [one.holds, one.concerns, one.breaks, one.covered].map(plainly)),
      ),
    ),
  );
};
