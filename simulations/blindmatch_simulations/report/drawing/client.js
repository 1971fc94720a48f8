// ---- what a modified client does
const clientCells = (row) => {
  const found = row.offence,
    where = place(row.id, "offence");
  const held = () =>
    evidence(`${esc(row.id)}: a client that does not play along`, [
      ["row in results.json", `<code>offence</code>: ${json(found)}`],
      ["what it is", "listed pictures sent by a client that never asks; then a file that is no picture, under both policies"],
    ]);
  const tried = row.tries_until_hidden.filter((one) => one);
  const anyway =
    row.design.content === "clear" && !row.design.end_to_end
      ? `${found.delivered} of ${found.sent} passed, but the provider reads messages`
      : `${found.delivered} of ${found.sent} passed, ${found.asked} asked about`;
  return [
    opens(where, anyway, held),
    opens(
      `${where}.archive`,
      `${found.refused_archive ? "refused" : "not refused"} by default; under the other policy it ${found.archive_delivered ? "arrives" : "does not arrive"}, ${found.archive_asked} requests`,
      held,
    ),
    valueOf(row, "evading") === null
      ? fig(row, "evading")
      : fig(row, "evading", `${tried.length} of ${row.tries_until_hidden.length} pictures`),
    fig(row, "oracle_tries"),
  ];
};
const clientPart = () => {
  const rows = inOrder().filter((row) => row.design.relation !== "nothing");
  return section(
    "client",
    "What does a modified client do?",
    para(
      "It sends without asking. A party would notice only if it held an account's requests against its attachments; none here does. Edits: those of the suite.",
    ),
    lifted(
      "Ways around detection",
      [
        "design",
        "listed pictures, never asked about",
        "an archive instead of a picture",
        "hidden by an edit",
        "tries an account",
      ],
      alike(rows, clientCells),
    ),
  );
};
// ---- what happens after a false report
const attackNamed = (name) => attackRows().filter((one) => one.id === name);
const attacksSay = (names) =>
  names
    .map(attackNamed)
    .filter((one) => one.length)
    .map((rows) => {
      const ways = groupsBy(rows, attackWords);
      return `${esc(rows[0].id)}: ${ways.map((each) => attackLink(each[0]) + (ways.length > 1 ? ` (${named(each.map((one) => ({id: one.parameters.design})))})` : "")).join(", ")}`;
    })
    .join("; ") || absent("");
const afterPart = () => {
  const steps = now.sources.after.map(
    (one) =>
      `<b>${esc(one.who)}.</b> ${terms(esc(one.does))} ${soft(`${terms(esc(one.measured))} ${one.attacks.length ? `Attacks: ${attacksSay(one.attacks)}.` : ""}`)}`,
  );
  return section(
    "after",
    "What happens after a false report?",
    `<ol>${steps.map((one) => `<li>${one}</li>`).join("")}</ol>`,
    para(`Elsewhere, Switzerland: ${outsideLink("swiss_reports")}. Ireland, 2020: ${outsideLink("irish_reports_2020")}.`),
  );
};
