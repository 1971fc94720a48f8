// What nobody measured.
// what other parts say is not measured, and is no figure of the catalogue
const missingCells = () => {
  const guess = designs().filter((row) => row.design.relation === "category"),
    groups = ["to_group", "to_large_group"].map((name) => [name, inOrder().filter((row) => !row[name])]),
    people = (name) => inOrder().find((row) => row[name])?.[name].people;
  return [
    ...(guess.length ? [["Innocent pictures that a model takes for its category", h`${named(guess)}: no pictures of that category are in the run; recalled alone`]] : []),
    ...groups
      .filter(([name, rows]) => rows.length && people(name))
      .map(([name, rows]) => [`One listed picture to ${number(people(name))} people`, h`${named(rows)}: ${glue(unique(rows.map((row) => row.lessened || LACKING)), "; ")}`]),
    ...(studies().length ? [["Who notices that an account was opened", h`${glue(studies().map((row) => rowName(optionOf(row.option), row)), ", ")}: the study counts what opens, and notices nothing`]] : []),
  ];
};
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
    .filter(Boolean)
    .concat(missingCells());
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
