// How it can be abused, and who would notice: declared, and played by attacks.
const rowsOfKind = (kind) => now.attacks.concat(now.run.rows).filter((one) => one.kind === kind);
// who attacks: a device is not the reader's
const withWhom = (parties) => parties.map((party) => (party === "device" ? "a device" : partyName(party))).join(" with ");
const attackRows = () => rowsOfKind("attack");
// an attack's parties by the names that they have in its design: what it calls the matcher is whoever is asked there
const attackers = ({adversary, parameters}) => {
  const asked = unique(Object.values(now.run.rows.find((row) => row.id === parameters.design)?.design?.roles ?? {}));
  const stands = asked.length > 0 && !asked.includes("matcher") && !asked.includes("provider");
  return adversary.parties.flatMap((party) => (party === "matcher" && stands ? asked : [party]));
};
const byAttackers = (row) => withWhom(attackers(row));
const unplayed = (wanted, named) =>
  glue(
    groupsBy(rowsOfKind("attack not played").filter(wanted), (one) => one.why).map(
      (each) => h`${each.map(named).map(attackName).join(", ")}: ${plainly(each[0].why)}`,
    ),
    "; ",
  );
const failures = () => {
  const failed = rowsOfKind("attack not played").filter((one) => one.status === "failed");
  return failed.length ? h`; failed, so not known: ${glue(unique(failed.map((one) => attackName(one.id))), ", ")}` : "";
};
const attackWords = (row) =>
  row.succeeded
    ? row.claimed
      ? "succeeded, against the claim"
      : "succeeded, as documented"
    : row.claimed
      ? withstood(row)
      : "did not succeed";
// a game bounds an advantage, and no more than that
const withstood = (row) => {
  const {unit, high} = row.figures.achieved || {};
  return /^advantage/.test(unit || "") ? h`${saysLittle(high) ? "too few runs to say: " : ""}${unit} \u2264${number(high)}` : "withstood";
};
const spentWords = ({queries, distortion, compute_u: compute, list_share: listed} = {}) =>
  glue(
    [
      queries && h`${number(queries)} requests`,
      distortion &&
        h`edit ${distortion.edit}: L2 ${number(distortion.l2)}, L\u221e ${number(distortion.linf)}, likeness ${number(distortion.ssim)} of 1`,
      compute && h`${number(compute)} u of CPU`,
      listed && h`${percent(listed)} of the list known or placed`,
    ].filter(Boolean),
    "; ",
  ) || absent("");
const attackLink = (row, words = attackWords(row)) =>
  opens(place("attack", row.id, String(row.parameters.design)), words, () =>
    evidence(h`Attack on ${calledIn(row.parameters.design)}: ${attackName(row.id)}`, [
      [
        "adversary",
        h`${row.adversary.conduct} ${byAttackers(row)}${row.adversary.has ? h`: ${plainly(row.adversary.has)}` : ""}; ${plainly(row.adversary.budget)}`,
      ],
      ["attacks the sentence", h`${plainly(row.claim.words)} (<code>${row.claim.page}</code>)`],
      ["came to", attackWords(row)],
      ["spent", spentWords(row.budget)],
      [
        "figures",
        glue(
          Object.entries(row.figures).map(([name, one]) => h`${plainly(name)}: ${json(one)}`),
          h`<br/>`,
        ),
      ],
      ["row", h`attacks.json, rows, id <code>${row.id}</code>, design <code>${row.parameters.design}</code>`],
    ]),
  );
const attacksOn = (row) =>
  glue(
    attackRows()
      .filter((one) => one.parameters.design === row.id)
      .map((one) => h`${attackName(one.id)}: ${attackLink(one)}`),
    "; ",
  );
const notPlayedOn = (row) =>
  unplayed(
    (one) => one.parameters.design === row.id,
    (one) => one.id,
  );
const NONE = "none declared";
const forced = (row) => withFact(row, (one) => one.fact.topic === "forced");
const withFact = (row, wanted) => {
  const found = abuses(row).filter(wanted);
  return found.length
    ? opens(place(row.id, "abuse", found[0].name), glue(found.map(abuseLine), "; "), () => abuseEvidence(row))
    : NONE;
};
// attacks that succeeded on a design, and exposed one of some things
const exposedOn = (row, things) => attackRows().filter((one) => one.parameters.design === row.id && one.succeeded && things.includes(one.trace?.exposes));
// what modified devices that are told nothing found out all the same
const guessedBy = (row) =>
  exposedOn(row, now.sources.guessed)
    .filter((one) => one.adversary.parties.join() === "device")
    .map((one) => attackLink(one, h`${attackName(one.id)}: ${one.trace.exposes} (${called(one.trace.notices)}), played`));
// of a list that devices hold, or read under keys of their own, a number of requests says nothing
const OWN_KEYS = "own_keys";
const readBy = (row) => {
  if (row.design.list_known.some((one) => one.parties.join() === "device" && one.knowledge === "hashes")) return "the whole list at once: it lies on the device";
  const known = row.design.declared.filter((one) => one.parties.join() === "device").flatMap((one) => one.facts).find((one) => one.name === OWN_KEYS);
  return known ? `a modified device, ${known.says}` : "";
};
const extraction = (row) => {
  const read = readBy(row);
  if (read) return opens(place(row.id, "extraction"), read, () => abuseEvidence(row));
  if (!row.extraction)
    return LISTED[row.design.relation]
      ? "there is no list"
      : row.design.learns.includes("device")
        ? "an entry for each right guess"
        : glue(["a client is told no outcome", ...guessedBy(row)], "; ");
  const words = glue(
    Object.entries(row.extraction.shares).map(
      ([spent, share]) => h`${percent(share)} for ${number(Number(spent))} ${row.extraction.unit}`,
    ),
    "; ",
  );
  return opens(place(row.id, "extraction"), words, () =>
    evidence(h`${code(row)}: list opened by asking`, [
      ["row in results.json", h`<code>extraction</code>: ${json(row.extraction)}`],
      ["limits of the key", json(row.key)],
    ]),
  );
};
// what a design declares of parties that join, and what the attack that joins their logs learned of it
const joined = (row) => {
  const declared = withFact(row, (one) => one.fact.topic !== "forced" && one.by.every((parties) => parties.length > 1));
  const played = attackNamed("joined-logs").find((one) => one.parameters.design === row.id && one.succeeded);
  if (!played) return declared;
  const won = attackLink(played, h`${byAttackers(played)}: ${played.trace.exposes} (${called(played.trace.notices)}), played`);
  return declared === NONE ? won : glue([declared, won], "; ");
};
const whoDoes = (groups) =>
  glue(
    groups
      .filter((one) => one[1] !== NONE)
      .concat(groups.filter((one) => one[1] === NONE).map((one) => [groups.length > 1 ? "the others" : one[0], NONE]))
      .map(([who, what]) => h`${what}: ${who}`),
    h`<br/>`,
  );
const TOPICS = () => [
  ["Other lists", (row) => listAbuse(row)],
  ["Forced reports", forced],
  ["Search for anything", (row) => withFact(row, (one) => one.fact.topic === "search")],
  ["List opened, or matches hidden, by who answers", (row) => withFact(row, (one) => ["list", "hide"].includes(one.fact.topic) && one.by.every((parties) => !parties.includes("device")))],
  ["List opened by clients", extraction],
  ["Logs joined", joined],
  ["Listed picture rebuilt from stolen files", (row) => figFull(row, "depicted")],
];
const topics = () => {
  const lines = TOPICS().map(([topic, cell]) => [h`<b>${topic}</b>`, whoDoes(alike(inOrder(), (row) => [cell(row)]))]);
  if (now.sources.listing.some((name) => attackNamed(name).length))
    lines[0][1] = h`${lines[0][1]}<br/>attacks: ${attacksSay(now.sources.listing)}`;
  return [para(h`${messengers()} ${listShown()}.`), table("What can be done, and in which designs", ["abuse", "by whom (who would notice): designs"], lines)];
};
// in which designs outsiders can be shown the list's sameness
const listShown = () => {
  const listed_ = inOrder().filter((row) => !LISTED[row.design.relation]),
    shown_ = listed_.filter(proven);
  return shown_.length
    ? h`If the log\u2019s witnesses are independent, outsiders can be shown that all devices have one list in ${shown_.length} of ${listed_.length} designs`
    : "No proof to outsiders was measured";
};
const messengers = () => {
  const found = inOrder().flatMap((row) => abuses(row).filter((one) => one.fact.topic === "read"));
  const said = glue(unique(found.map(abuseLine)), "; ") || "nothing further is declared";
  return h`The messenger itself, where it is end-to-end encrypted: ${said}.`;
};
const NAMED = 4; // attacks that are declared to succeed are counted, if there are more
const successes = (claimed) => {
  if (!attackRows().length) return absent("");
  const found = groupsBy(
    attackRows().filter((one) => one.succeeded && one.claimed === claimed),
    (one) => one.id,
  );
  if (found.length > NAMED && !claimed) return to("attacks", number(found.length));
  return (
    glue(
      found.map((each) => attackLink(each[0], attackName(each[0].id))),
      ", ",
    ) || "none"
  );
};
// an attack that was played once goes for a design, too; not one on everybody's list where devices take none
const TAKEN = "that everybody has one list";
const goesFor = (row, played) => {
  if (!row.why.startsWith(now.sources.same) || !played) return false;
  const {design} = designs().find((one) => one.id === row.parameters.design) ?? {};
  return played.trace?.exposes !== TAKEN || !design || (design.relation !== "nothing" && design.end_to_end);
};
const attacksFold = () => {
  // designs that tables by actor count as the one that it was played on
  const like = (id) => {
    const rows = rowsOfKind("attack not played").filter((one) => one.id === id && goesFor(one, attackNamed(id)[0]));
    return rows.length ? h`; alike in ${to("actors", number(rows.length))} more, since it ${now.sources.same}` : "";
  };
  const played = groupsBy(attackRows(), (one) => one.id).map((each) => [
    h`<b>${attackName(each[0].id)}</b> ${soft(h`${glue(unique(each.map(byAttackers)), "; or ")}: ${plainly(each[0].claim.words)}`)}`,
    h`${glue(
      each.map((one) => h`${calledIn(one.parameters.design)}: ${attackLink(one)}`),
      "; ",
    )}${like(each[0].id)}`,
  ]);
  const none = h`No attacks file lies beside this run: <code>blindmatch attack run all --json DIR/attacks.json</code>.`;
  return fold(
    "attacks",
    "Every attack that was played",
    played.length ? table("Attacks", ["attack, and the documents\u2019 sentence that it is about", "came to"], played) : para(none),
  );
};
// shares of a hidden list that modified phones open in a year, and what limits cost honest users
const NO_SHARE = {"tested alone": "without limit: it tests guesses by itself", "told nothing": "nothing: it is told no match", "no list": "there is no list"};
const LISTS_OPENED = [
  ["uniform hashes", "any", "uniform"],
  ["photograph-like", "far", "photograph-like, far"],
  ["all kinds", "far", "all kinds, far"],
  ["all kinds", "far, with what opened", "the same, with what opens led further"],
  ["all kinds", "near", "all kinds, near"],
];
const openedShare = (row, phones, kind, distance) => {
  const {in_all, exhausted: used, shares} = row.capacity,
    limits = in_all && !used ? "all limits" : "limits by account",
    held = shares.filter((one) => one.phones === phones && one.span === "a year" && one.limits === limits);
  return held.find((one) => one.kind === kind && one.distance === distance) || held.find((one) => one.kind === "any");
};
const openedCell = (row, phones, kind, distance) => {
  const one = openedShare(row, phones, kind, distance);
  if (!one || one.share === null) return NO_SHARE[row.capacity.standing] || absent("");
  if (row.capacity.standing === "handed out") return "the list is handed out";
  if (row.capacity.standing !== "hidden") return NO_SHARE[row.capacity.standing];
  if (one.share === 0 && one.high) return h`none of ${number(one.n)}`;
  return one.share < 1e-9 ? percent(0) : percent(one.share);
};
const capacityFold = () => {
  const rows = inOrder().filter((row) => row.capacity);
  if (!rows.length) return "";
  const [first] = rows,
    {phones, phone_pictures, list_years, volume} = first.capacity.assumed;
  const lines = LISTS_OPENED.flatMap(([kind, distance, says]) => [
    [h`Listed: ${says}`],
    ...groupsBy(rows, (row) => saying(glue(phones.map((count) => h`${openedCell(row, count, kind, distance)}|`), ""))).map((each) => [
      named(each),
      ...phones.map((count) => openedCell(each[0], count, kind, distance)),
    ]),
  ]);
  const keys = groupsBy(rows, (row) => `${row.capacity.exhausted}|${row.capacity.notice || row.capacity.says}`).map((each) => [
    named(each),
    each[0].capacity.exhausted || (each[0].capacity.standing === "hidden" ? "a year or longer" : "no key to use up"),
    each[0].capacity.notice || each[0].capacity.says,
  ]);
  return fold("capacity", "A hidden list against modified phones, and how long its key lasts", [
    para(h`Share of the list that so many modified phones open in a year, which pool what they ask; where honest users use up a limit on all accounts within a year, under limits by account alone. Assumed: ${number(phone_pictures)} pictures a year of a phone; a key that nothing ends lives ${number(list_years)} years. Uniform hashes by formula. Others measured: who has half of the reference corpus guesses the other half’s hashes in the best order it knows; far: no picture it has is within 64 bits, near: one is.`),
    table("List opened by modified phones in a year", ["design", ...phones.map((count) => h`${number(count)} phone${count === 1 ? "" : "s"}`)], lines),
    table(h`The key at ${number(volume)} pictures a day`, ["design", "lasts", "what honest users notice"], keys),
  ]);
};
const abusePart = () =>
  section(
    "abuse",
    "How can it be abused, and who would notice?",
    para(h`Attacks that succeeded as documented: ${successes(false)}; against what a document claims: ${successes(true)}${failures()}.${exposers().length ? h` Beyond 0b: ${exposers().length}.` : ""}`),
    ...actorsPart(),
    ...prevention(),
    fold("topics", "Each kind of abuse, by design", topics()),
    capacityFold(),
    attacksFold(),
    fold("bugs", "\u201cBugs in our Pockets\u201d as a checklist", bugs()),
    fold("learns", "Every declared fact: who learns what", learns()),
  );
