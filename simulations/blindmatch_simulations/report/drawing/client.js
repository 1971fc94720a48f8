// ---- what a modified client does
// it need not ask: whoever delivers looks
const readByProvider = (row) => row.design.content === "clear" && !row.design.end_to_end && row.design.relation !== "nothing";
const clientCells = (row) => {
  const found = row.offence,
    where = place(row.id, "offence");
  const held = () =>
    evidence(h`${code(row)}: a client that does not play along`, [
      ["row in results.json", h`<code>offence</code>: ${json(found)}`],
      ["what it is", "listed pictures sent by a client that never asks; then a file that is no picture, under both policies"],
    ]);
  const tried = row.tries_until_hidden.filter((one) => one);
  const anyway =
    readByProvider(row)
      ? h`all are looked at by the provider; ${found.delivered} of ${found.sent} arrived`
      : h`${found.delivered} of ${found.sent} passed${found.asked ? h`, ${found.asked} asked about` : ""}`;
  return [
    opens(where, anyway, held),
    opens(
      h`${where}.archive`,
      h`${found.refused_archive ? "refused" : "not refused"} by default; under the other policy ${found.archive_delivered ? "it arrives" : "not delivered"}, ${found.archive_asked} requests`,
      held,
    ),
    valueOf(row, "evading") === null
      ? fig(row, "evading")
      : fig(row, "evading", h`${tried.length} of ${row.tries_until_hidden.length} pictures`),
    guessedBy(row).length ? h`none by replies; ${glue(guessedBy(row), "; ")}` : valueOf(row, "oracle_tries") === 0 ? fig(row, "oracle_tries", "none: a client is told no outcome") : fig(row, "oracle_tries"),
  ];
};
// by what a modified client does: also where the provider looks at all that it carries, two of them escape
const escapes = () => {
  const rows = designs().filter((row) => row.design.relation !== "nothing"),
    caught = rows.filter(readByProvider);
  const ways = [
    caught.some((row) => row.offence.archive_delivered) ? "packing pictures into archives (where these are allowed)" : "",
    caught.some((row) => valueOf(row, "evading") > 0) ? "editing pictures" : "",
  ].filter(Boolean);
  const there = ways.length ? h`, ${named(caught)} by ${glue(ways, " or ")}` : "";
  return rows.length > caught.length ? h`Modified clients escape: E2EE designs by not asking${there}.` : "";
};
const clientPart = () => {
  const rows = inOrder().filter((row) => row.design.relation !== "nothing");
  const hidden = rows.filter((row) => valueOf(row, "evading") !== null),
    all = hidden.every((row) => row.tries_until_hidden.every((one) => one)),
    tries = unique(rows.map((row) => figureOf(row, "oracle_tries")).filter((one) => one.value > 0).map(triesIn));
  return section(
    "client",
    "What does a modified client do?",
    para(
      h`It sends without asking: ${skipped()}. No party here holds an account's requests against its attachments. Edits hid ${hidden.length ? (all ? "every picture tried" : "some pictures") : absent("")}${tries.length ? h`; where replies are counted, an account is allowed ${glue(tries, " or ")}` : ""}.`,
    ),
    fold("client-ways", "Ways around detection, by design", lifted(
      "Ways around detection",
      [
        "design",
        "listed pictures, never asked about",
        "an archive",
        "hidden by an edit",
        "tries that an account is allowed",
      ],
      alike(rows, clientCells),
    )),
  );
};
// ---- what happens after a false report
const attackNamed = (name) => attackRows().filter((one) => one.id === name);
const attacksSay = (names) =>
  glue(
    names
      .map(attackNamed)
      .filter((one) => one.length)
      .map((rows) => {
        const ways = groupsBy(rows, attackWords);
        return h`${attackName(rows[0].id)}: ${glue(
          ways.map(
            (each) =>
              h`${attackLink(each[0])}${ways.length > 1 ? h` (${named(each.map(({parameters: {design}}) => now.run.rows.find((row) => row.id === design) || {id: design}))})` : ""}`,
          ),
          ", ",
        )}`;
      }),
    "; ",
  ) || absent("");
const afterPart = () => {
  const steps = now.sources.after.map(
    (one) =>
      h`<b>${one.who}.</b> ${terms(one.does)} ${soft(h`${terms(one.measured)} ${one.attacks.length ? withstoodOf(one.attacks, "attacks") : ""}`)}`,
  );
  return section(
    "after",
    "What happens after a false report?",
    h`<ol>${glue(steps.map((one) => h`<li>${one}</li>`))}</ol>`,
    fold("elsewhere", "Reports elsewhere", para(h`Switzerland: ${outsideLink("swiss_reports")}. Ireland, 2020: ${outsideLink("irish_reports_2020")}.`)),
  );
};
