// Who sees picture, hash, account and outcome: observed in the run, or declared and not seen in it.
const THINGS = ["picture", "hash", "account", "outcome"];
const SURE = ["sealed", "declared", "unchecked", "observed"];
const SEEN = {declared: "declared, not seen in this run", unchecked: "declared, not checked: no check looked for it to its end"};
const ENDS = ["device", "provider", "centre"];
const AFTER = ["centre", "authorities"];
const PLAIN_PARTY = {device: "you", party_a: "party A", party_b: "party B", third_party: "third party"};
const partyName = (party) => PLAIN_PARTY[party] || party.replace(/_/g, " ");

const servers = (row) =>
  unique([
    ...Object.values(row.design.roles),
    ...row.design.declared.filter((one) => one.parties.length === 1).map((one) => one.parties[0]),
  ])
    .filter((party) => !ENDS.includes(party))
    .sort();
const met = (row, party) => row.traffic.some((one) => one.party === party && !ofHarness(row, one));
// of a design that finds nothing, all but the messenger's own traffic is the set-up of the run
const ofHarness = (row, one) => row.design.relation === "nothing" && one.party !== "provider";
const reportsLeft = (row) => row.traffic.some((one) => one.party === "centre" && one.purpose === "report" && one.up_bytes > 0);
const matched = (row) => (valueOf(row, "recall") || 0) > 0 || reportsLeft(row);
const reported = (row) =>
  reportsLeft(row) ||
  (matched(row) && !row.design.learns.includes("device") && row.design.learns.includes("server"));

// whether a party takes part in a design: a design that finds nothing has nobody to ask, and reports to nobody
const takesPart = (row, party) =>
  ["device", "provider"].includes(party) ||
  (party === "centre" ? row.design.relation !== "nothing" : met(row, party) || Object.values(row.design.roles).includes(party));
// facts of a report that a device makes: of a centre that opens vouchers nobody is told, and no report leaves
const OF_REPORTS = ["match_time", "notice_time", "complaint_time", "complaint"];
const holdsOf = (row, leak) => leak.source === "design" || leak.parties.every((party) => takesPart(row, party));
const heldFacts = (row, leak) => leak.facts.filter((fact) => leak.source === "design" || !vouches(row) || !OF_REPORTS.includes(fact.name));
// why a declared fact counts as observed; empty if it does not
const observedBy = (row, party, fact, leak) => {
  const by = check(row, "tightness")?.figures?.recovered_by?.[`${party}: ${fact.name}`];
  if (by) return h`recovered from what the party got (${by})`;
  if (fact.name === "report") {
    if (reported(row)) return "reports reached it in this run";
    return vouches(row) && matched(row) ? h`${countOf(figureOf(row, "recall"))} listed pictures were opened from vouchers in this run` : "";
  }
  if (fact.shows.includes("account") && (leak.source === "messenger" || vouches(row)) && met(row, party))
    return "it was called with the account's certificate in this run";
  if (fact.shows.includes("picture") && row.design.content === "clear" && !row.design.end_to_end && met(row, party))
    return "pictures went to it in the clear in this run";
  return "";
};
// reports and accounts are looked at while pictures are sent; the rest is for a check that may not have come to its end
const looked = (row, fact, leak) =>
  fact.name === "report" ||
  (leak.source === "messenger" && fact.shows.includes("account")) ||
  !["not checked", undefined].includes(check(row, "tightness")?.verdict);
const told = (row, party) =>
  row.design.declared.filter((one) => one.parties.length === 1 && one.parties[0] === party && one.adversary === "semi-honest");
// what facts say that show one of some things to a party
const saysOf = (row, party, things) =>
  unique(
    told(row, party)
      .flatMap((leak) => leak.facts)
      .filter((fact) => fact.shows.some((thing) => things.includes(thing)))
      .map((fact) => clause(fact.says)),
  );
const silent = (row) => row.design.learns.every((one) => one === "nobody");
const seenBy = (row, party) => {
  const found = {};
  const add = (thing, state, why) => {
    if (!found[thing] || SURE.indexOf(state) > SURE.indexOf(found[thing].state)) found[thing] = {state, why};
  };
  const roles = Object.values(row.design.roles);
  for (const leak of told(row, party))
    for (const fact of leak.facts)
      for (const thing of fact.shows) {
        if (silent(row) && fact.name !== "account" && ["match_time", "report"].includes(fact.name)) continue;
        const by = observedBy(row, party, fact, leak);
        add(
          thing,
          by ? "observed" : looked(row, fact, leak) ? "declared" : "unchecked",
          h`${plainly(fact.name)}: ${fact.says}${by ? h`; ${by}` : ""}`,
        );
      }
  const learner =
    (party === "device" && row.design.learns.includes("device")) ||
    (roles.includes(party) && row.design.learns.includes("server"));
  if (learner) add("outcome", matched(row) ? "observed" : "declared", "it learns the outcome, by the design's declaration");
  if (row.design.content === "sealed" && roles.includes(party))
    add("picture", "sealed", "every picture goes there under a seal that this party is not to open");
  return found;
};
const sight = (row) =>
  ["device", "provider", ...servers(row), "centre"].filter((party) => takesPart(row, party)).map((party) => ({party, things: seenBy(row, party)}));
// as drawn: of every picture a centre has the voucher, and whose it is; the picture of those that it opens alone
// what a legend says of those who are not drawn does not hold where a design has none
const drawnOf_ = (row) => {
  const boxes = sight(row),
    none = boxes.some((box) => box.party === "centre") ? [] : [{party: "centre", things: {}}];
  return [...boxes, ...none].flatMap((box) => {
    if (box.party !== "centre" || !vouches(row)) return [box];
    const {picture, ...every} = box.things;
    return [{party: box.party, things: every, of: "every voucher"}, ...(picture ? [{party: box.party, things: {picture}, of: "what it opens"}] : [])];
  });
};

const BOX = 54;
const icon = (thing, state, x) =>
  h`<g class="s-${state}"><rect x="${x}" y="14" width="12" height="13" rx="2"/><text x="${x + 6}" y="24.5" text-anchor="middle">${thing[0].toUpperCase()}</text></g>`;
const boxed = (box, x) => {
  const icons = THINGS.map((thing, at) => (box.things[thing] ? icon(thing, box.things[thing].state, x + 0.5 + 12.6 * at) : ""));
  return h`<rect class="box${AFTER.includes(box.party) && box.of !== "every voucher" ? " after" : ""}" x="${x}" y="0.5" width="${BOX - 3}" height="29" rx="3"/><text class="party" x="${x + 25.5}" y="10.5" text-anchor="middle"${partyName(box.party).length > 9 ? h` textLength="46" lengthAdjust="spacingAndGlyphs"` : ""}>${partyName(box.party)}</text>${icons}`;
};
const diagram = (boxes, words) => {
  const width = BOX * boxes.length;
  return h`<svg class="sees" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} 30" width="${width}" height="30" role="img" aria-label="${words}"><title>${words}</title>${boxes.map((box, at) => boxed(box, BOX * at + 1))}</svg>`;
};
const inWords = (boxes) =>
  glue(
    boxes.map(
      (box) =>
        h`${partyName(box.party)}${box.of ? `, of ${box.of}` : ""}: ${
          glue(
            THINGS.filter((thing) => box.things[thing]).map(
              (thing) =>
                h`${thing} (${{declared: "declared, not seen", unchecked: "declared, not checked"}[box.things[thing].state] || box.things[thing].state})`,
            ),
            ", ",
          ) || "none of the four"
        }`,
    ),
    "; ",
  );
// what the two ends and the provider see in most designs: said once
const statesOf = ({things}) => JSON.stringify(THINGS.map((thing) => things[thing]?.state || ""));
const usual = () =>
  once("usual", () =>
    ["device", "provider", "centre"].flatMap((party) => {
      const found = designs().flatMap((row) => sight(row).filter((box) => box.party === party));
      return groupsBy(found, statesOf).sort((a, b) => b.length - a.length)[0]?.slice(0, 1) || [];
    }),
  );
const sees = (row) => {
  const boxes = drawnOf_(row),
    said = usual(),
    drawn = now.flat ? boxes : boxes.filter((box) => box.of || !said.some((one) => one.party === box.party && statesOf(one) === statesOf(box)));
  return h`${opens(place(row.id, "sees"), diagram(drawn, inWords(boxes)), () =>
    evidence(
      h`${code(row)}: who sees what`,
      sight(row)
        .map((box) => [
          partyName(box.party),
          glue(
            Object.entries(box.things).map(([thing, one]) => h`<b>${thing}</b>, ${SEEN[one.state] || one.state}: ${one.why}`),
            h`<br/>`,
          ) || "none of the four",
        ])
        .concat([
          ["learns the outcome", row.design.learns.join(", ")],
          ["undeclared bytes, in an audit", row.audit.sessions ? shown("undeclared_bytes", figureOf(row, "undeclared_bytes")) : "no session to look at"],
          [
            "row in results.json",
            h`rows, id <code>${row.id}</code>, design, <code>declared</code> and <code>checks</code>, tightness`,
          ],
        ]),
    ),
  )}${hashSaid(row, drawn)}`;
};
// which part of the hash a drawn H stands for, in the words of the declared fact
const hashSaid = (row, drawn) =>
  unique(drawn.filter((box) => box.things.hash).flatMap((box) => saysOf(row, box.party, ["hash"]))).map((words) => h` ${soft(h`H: ${words}`)}`);
const studySees = (row) => {
  const most = mostOpened(row.opened);
  const boxes = [
    {party: "device", things: {}},
    // what every design's provider knows; a study sends nothing through one
    {party: "provider", things: {account: {state: "declared"}}},
    {party: "centre", things: {}},
    {party: "authorities", things: most.messages ? {picture: {state: "observed"}} : {}},
  ];
  return opens(
    place(row.id, "sees"),
    diagram(boxes, h`${inWords(boxes)}. Opened: ${glue(openedSaid(row), "; ")}`),
    () =>
      evidence(
        h`${code(row)}: what opens, to whom`,
        row.opened
          .map((one) => [
            h`${one.who}, ${one.holders}`,
            h`${one.messages} of ${one.of_messages} messages, ${one.accounts} of ${one.of_accounts} accounts`,
          ])
          .concat([["row in results.json", h`rows, id <code>${row.id}</code>, <code>opened</code>`]]),
      ),
  );
};
const recalled = (option) =>
  h`<span class="recalled">${
    glue(
      Object.entries(option.sees).map(([who, what]) => h`${who}: ${what}`),
      "; ",
    ) || "nobody anything"
  }</span> ${mark(option.provenance)}`;
