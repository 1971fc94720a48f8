// Declared facts by party, and what looked for more.
const games = (row) =>
  row.checks
    .filter((one) => one.verdict === "passed" && /games$/.test(one.check))
    .flatMap((one) =>
      Object.entries(one.figures)
        .filter(([, found]) => found && found.interval)
        .map(([who, found]) => [`${one.check}, ${who}`, found]),
    );
const status = (row) => {
  const broken = row.checks.filter((one) => one.verdict === "failed");
  const lines = row.audit.findings
    .map((one) => `<b class="bad">violated</b>: ${esc(one.party)}, ${number(one.bytes)} undeclared bytes: ${esc(one.rule)}`)
    .concat(broken.map((one) => `<b class="bad">failed</b>: ${esc(one.check)}: ${esc(one.reason)}`));
  const audit = row.audit.comparable
    ? `egress audit of ${row.audit.sessions} sessions: nothing further found`
    : `egress audit of ${row.audit.sessions} sessions: nothing could be compared`;
  const played = games(row).map(
    ([name, found]) =>
      `${esc(name)}: advantage at most ${number(found.interval[1])}, ${number(found.held_out_runs)} runs${found.pairs !== undefined && found.pairs < 8 ? `; not measured, ${found.pairs} pairs` : ""}`,
  );
  return opens(place(row.id, "status"), lines.length ? lines.join("<br/>") : esc(audit), () =>
    evidence(`${esc(row.id)}: looked for more than is declared`, [
      ["audit", json(row.audit)],
      ["games", list(played.length ? played : [`not measured: ${esc(row.checks_why || "none was finished")}`])],
      ["list games", esc(check(row, "list games")?.reason || `not measured: ${row.checks_why}`)],
      [
        "checks",
        list(row.checks.map((one) => `${esc(one.check)}: ${esc(one.verdict)}${one.reason ? `, ${esc(one.reason)}` : ""}`)),
      ],
    ]),
  );
};
const learns = () => {
  const lines = inOrder().map((row) => {
    const own = row.design.declared.filter((one) => one.source === "design");
    const says = own.map(
      (leak) =>
        `<b>${esc(leak.parties.join(" with "))}</b>, ${esc(leak.adversary)}: ${
          bySeverity(leak.facts, leak.parties.join() === "device")
            .map((fact) => `<span title="${esc(fact.says)}">${esc(fact.name)}</span>`)
            .join(", ") || "nothing"
        }`,
    );
    return [
      code(row),
      opens(place(row.id, "facts"), says.join("<br/>") || "nothing is declared", () =>
        evidence(
          `${esc(row.id)}: declared facts`,
          own.map((leak) => [
            `${leak.parties.join(" with ")}, ${leak.adversary}`,
            list(
              bySeverity(leak.facts).map((fact) => `<b>${esc(fact.name)}</b> (${esc(kindOfFact(fact.name))}): ${esc(fact.says)}`),
            ),
          ]),
        ),
      ),
      esc(row.design.learns.join(", ")),
      esc(
        row.design.list_known
          .filter((one) => one.knowledge !== "nothing")
          .map((one) => `${one.parties.join(" with ")}: ${one.knowledge}`)
          .join("; ") || "nothing, to nobody",
      ),
      status(row),
      figFull(row, "advantage"),
      figFull(row, "list_advantage"),
    ];
  });
  return (
    table(
      "Declared facts, most severe first",
      [
        "design",
        "facts, by party and adversary",
        "outcome learnt by",
        "stored files show of the list",
        "looked for more",
        "best distinguisher, at most",
        "of lists",
      ],
      lines,
    ) + para("Declared is not observed. No distinguisher of this suite exceeded a bound; others may: that is no proof.")
  );
};
