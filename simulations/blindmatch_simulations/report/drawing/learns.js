// Declared facts by party, and what looked for more.
const games = (row) =>
  row.checks
    .filter((one) => one.verdict === "passed" && /games$/.test(one.check))
    .flatMap((one) =>
      Object.entries(one.figures)
        .filter(([, found]) => found && found.interval)
        .map(([who, found]) => [h`${one.check}, ${plainly(who)}`, found]),
    );
const status = (row) => {
  const broken = row.checks.filter((one) => one.verdict === "failed");
  const lines = row.audit.findings
    .map((one) => h`<b class="bad">violated</b>: ${one.party}, ${number(one.bytes)} undeclared bytes: ${one.rule}`)
    .concat(broken.map((one) => h`<b class="bad">failed</b>: ${one.check}: ${one.reason}`));
  const audit = !row.audit.sessions
    ? "egress audit: no session to look at"
    : row.audit.comparable
    ? h`egress audit of ${row.audit.sessions} sessions: nothing further found`
    : h`egress audit of ${row.audit.sessions} sessions: nothing could be compared`;
  const played = games(row).map(
    ([name, found]) =>
      h`${name}: advantage at most ${number(found.interval[1])} (99.5 % for all together) in any of ${number(found.classes)} classes, ${number(found.held_out_runs)} runs${found.pairs !== undefined && found.pairs < 8 ? h`; not measured, ${found.pairs} pairs` : ""}`,
  );
  return opens(place(row.id, "status"), lines.length ? glue(lines, h`<br/>`) : audit, () =>
    evidence(h`${code(row)}: looked for more than is declared`, [
      ["audit", json(row.audit)],
      ["games", list(played.length ? played : [h`not measured: ${row.checks_why || "none was finished"}`])],
      ["list games", plainly(check(row, "list games")?.reason || "") || h`not measured: ${row.checks_why}`],
      ["checks", list(row.checks.map((one) => h`${one.check}: ${one.verdict}${one.reason ? h`, ${plainly(one.reason)}` : ""}`))],
    ]),
  );
};
// what comes with the messenger, whatever the design: by designs in which it is the same
const ofMessenger = () => {
  const facts = (row) =>
    glue(
      row.design.declared
        .filter((leak) => leak.source !== "design" && leak.parties.length === 1)
        .map((leak) => h`<b>${withWhom(leak.parties)}</b>: ${glue(bySeverity(leak.facts).map((fact) => h`<span title="${fact.says}">${plainly(fact.name)}</span>`), ", ")}`),
      h`<br/>`,
    );
  return alike(inOrder(), (row) => [facts(row)]);
};
const learns = () => {
  const lines = inOrder().map((row) => {
    const own = row.design.declared.filter((one) => one.source === "design");
    const says = own.map(
      (leak) =>
        h`<b>${withWhom(leak.parties)}</b>, ${leak.adversary}: ${
          glue(
            bySeverity(leak.facts).map(
              (fact) => h`<span title="${fact.says}">${plainly(fact.name)}</span>`,
            ),
            ", ",
          ) || "nothing"
        }`,
    );
    return [
      code(row),
      opens(place(row.id, "facts"), glue(says, h`<br/>`) || "nothing but the messenger\u2019s, below", () =>
        evidence(
          h`${code(row)}: declared facts`,
          own.map((leak) => [
            h`${withWhom(leak.parties)}, ${leak.adversary}`,
            list(bySeverity(leak.facts).map((fact) => h`<b>${plainly(fact.name)}</b> (${fact.severity}): ${fact.says}`)),
          ]),
        ),
      ),
      row.design.learns.join(", "),
      glue(
        row.design.list_known
          .filter((one) => one.knowledge !== "nothing")
          .map((one) => h`${withWhom(one.parties)}: ${one.knowledge}`),
        "; ",
      ) || "nothing, to nobody",
      status(row),
      figFull(row, "advantage"),
      figFull(row, "list_advantage"),
    ];
  });
  return [
    table(
      "Declared facts, most severe first",
      [
        "design",
        "facts of the design itself, by party and adversary",
        "outcome learnt by",
        "stored files show of the list",
        "looked for more",
        "pictures told apart, at most",
        "lists told apart, at most",
      ],
      lines,
    ),
    table("Declared facts of the messenger, most severe first", ["designs", "facts, by party"], ofMessenger()),
    para("Told apart, at most: a bound. Near 1 it says that few runs were made, not that anything was told apart; 0 is guessing."),
    para("Declared is not observed. No program of this suite told pictures apart beyond a bound; others may: that is no proof."),
  ];
};
