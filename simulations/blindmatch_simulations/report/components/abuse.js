// How designs can be abused: what played attacks exposed, by actor; what opens a list.
//
// In:   `view.abusers` in their order, `view.openings`.
// Out:  the section. Each mark carries its words: marks are examples that were chosen, and never a rate.
const NOBODY = "nobody";
const isUnnoticed = (played) => played.notices === NOBODY;

const titlesOf = (c, ids) => ids.map((id) => c.view.designs.find((card) => card.id === id)?.title ?? id);

const playedFacts = (c, played) =>
  facts([
    ["by which attacks", told(played.attacks.join("; "))],
    ["played, and succeeded, with", told(titlesOf(c, played.designs).join("; "))],
    ["not played, but taken to go alike, with", told(titlesOf(c, played.alike).join("; "))],
    ["who would notice", told(played.notices)],
    ["what remains as evidence", told(played.proof)],
  ]);

const playedMark = (c, played) =>
  h`<details class="played-mark"><summary><i class="sign
${isUnnoticed(played) ? "unseen" : "seen"}"></i>${told(capital(played.exposes))}
<span class="hidden">${
    isUnnoticed(played) ? "; nobody would notice" : "; somebody could notice"
  }</span></summary>${playedFacts(c, played)}</details>`;

const namesMark = (summary, names, sign) =>
  names.length
    ? h`<details class="played-mark none"><summary><i class="sign ${sign}"></i>${summary}</summary><p>${told(
        names.join("; "),
      )}.</p></details>`
    : "";

const restMarks = (abuser) => [
  namesMark("Succeeded, as with encryption alone", abuser.as_encrypted, "alike"),
  namesMark("Played without success", abuser.withstood, "stood"),
];

const abuserRow = (c, abuser) => {
  const exposed = abuser.exposed.length
    ? abuser.exposed.map((one) => playedMark(c, one))
    : h`<p class="small">${told("Nothing that was played exposed more than encryption alone allows.")}</p>`;
  return h`<div class="abuser"><h3>${capital(partyWords(abuser.actor))}</h3><div
class="marks">${exposed}${restMarks(abuser)}</div></div>`;
};

// ---- three examples: the one of each actor that goes furthest, each of another actor and another thing exposed
const EXAMPLE_ACTORS = ["list owner", "provider", "thief of a key"];
const playedExamples = (c) => {
  const rest = c.view.abusers.filter((one) => !EXAMPLE_ACTORS.includes(one.actor));
  const ordered = [
    ...EXAMPLE_ACTORS.map((name) => c.view.abusers.find((one) => one.actor === name)),
    ...rest,
  ].filter(Boolean);
  const exposed = new Set();
  const made = [];
  for (const abuser of ordered) {
    const open = abuser.exposed.filter((one) => !exposed.has(one.exposes));
    const widest = open.sort(
      (one, other) => other.designs.length - one.designs.length || other.alike.length - one.alike.length,
    )[0];
    if (!widest || made.length === 3) continue;
    exposed.add(widest.exposes);
    made.push({ abuser, played: widest });
  }
  return made;
};
const designsWords = (count) => `${countWords(count)} ${count === 1 ? "design" : "designs"}`;
const alikeWords = (c, played) =>
  played.alike.length
    ? h` ${capital(designsWords(played.alike.length))} more ${played.alike.length === 1 ? "is" : "are"} taken to go
alike, since the attack uses nothing that they differ in; it was not played there.
<details><summary>which</summary>${told(titlesOf(c, played.alike).join("; "))}.</details>`
    : "";

const playedStory = (c, { abuser, played }) => {
  const remains =
    played.proof === "no file remains" ? "Nothing that could be shown to others." : `${capital(played.proof)}.`;
  return h`<div class="story"><h3>${told(capital(played.attacks[0] ?? played.exposes))}</h3>
<p>Who could do it: ${partyWords(abuser.actor)}.</p><dl>
<dt>What it exposed</dt><dd>${told(capital(played.exposes))}.</dd>
<dt>Where it succeeded</dt><dd>${capital(designsWords(played.designs.length))} on which it was played.
<details><summary>which</summary>${told(titlesOf(c, played.designs).join("; "))}.</details>${alikeWords(c, played)}</dd>
<dt>Who would notice</dt><dd>${told(capital(played.notices))}.</dd><dt>What
remains</dt><dd>${told(remains)}</dd></dl></div>`;
};

const abuseTitle = (c) => {
  const able = c.view.abusers.filter((one) => one.exposed.some(isUnnoticed)).map((one) => partyWords(one.actor));
  const any = c.view.abusers.some((one) => one.exposed.length);
  if (!c.view.abusers.length && c.view.attacks_failed.length)
    return "Of the attacks that were played, none came to its end";
  if (!c.view.abusers.length) return "Attacks were not played in this run";
  if (!any) return "No attack that was played exposed more than encryption alone allows";
  if (!able.length) return "Of every attack that succeeded, somebody could notice";
  if (able.length > 1 && able.length === c.view.abusers.length) {
    return h`In attacks that were played, each of ${counted(able.length)} kinds of actors exposed something that
nobody would notice, with at least one design`;
  }
  return `In attacks that were played, these could expose something that nobody would notice: ${listWords(able)}`;
};

const abuseTable = (c) =>
  table(
    "What played attacks exposed",
    ["Who", "Exposed", "By", "Played with", "Taken to go alike with", "Who would notice", "What remains"],
    c.view.abusers.flatMap((abuser) =>
      abuser.exposed.map((one) => [
        capital(partyWords(abuser.actor)),
        told(one.exposes),
        told(one.attacks.join("; ")),
        told(titlesOf(c, one.designs).join("; ")),
        told(titlesOf(c, one.alike).join("; ")),
        told(one.notices),
        told(one.proof),
      ]),
    ),
  );

// ---- attacks that crashed: where they did, nothing is known
const crashedWords = (c) =>
  c.view.attacks_failed.length
    ? h`<p class="absent">${stateMark("failed")} These attacks crashed, so that they tell nothing of the designs
that they were played on: ${told(c.view.attacks_failed.join("; "))}.</p>`
    : "";

const abuseSection = (c) => {
  const examples = playedExamples(c);
  const legend = h`<ul class="legend"><li><i class="sign unseen"></i>nobody would notice</li>
<li><i class="sign seen"></i>somebody could notice</li><li><i class="sign alike"></i>succeeded, as it does where
messages are encrypted and nothing is looked for</li><li><i class="sign stood"></i>played, and did not
succeed</li></ul>`;
  const none = h`<p class="absent">${stateMark("not run")} No attack was played beside this run, so that
nothing is known here of abuse. That is no
safety.</p>`;
  const stories = examples.length
    ? h`<h3 class="big">${capital(countWords(examples.length))} played
${examples.length === 1 ? "example" : "examples"}</h3><p class="note">For each actor that is named, what
succeeded with most designs.</p><div class="stories">${examples.map((one) => playedStory(c, one))}</div>`
    : "";
  return frame(c, {
    id: "abuse",
    title: abuseTitle(c),
    note: h`Each line is something that an attack exposed when it was played; it opens the attack, the designs
and what remains. Which
attacks were played was a choice: they are examples, not a rate, and where nothing stands, nothing is proven.
What encryption alone
allows is left out. Actors stand in the order of how many kinds of things their attacks exposed.`,
    body: c.view.abusers.length
      ? h`${legend}<div class="abusers">${c.view.abusers.map((one) => abuserRow(c, one))}</div>
${crashedWords(c)}${stories}`
      : h`${c.view.attacks_failed.length ? "" : none}${crashedWords(c)}`,
    table: c.view.abusers.length ? abuseTable(c) : "",
    source: h`attacks that were played against this program; designs that an attack was not played with are named
apart.`,
    runs: c.view.attacks_run ? [c.view.attacks_run] : [],
  });
};

// ---- the frontier of list secrecy
const phonesWords = (count) => plainNumber(Number(count));
const openingRow = (c, opening) => {
  const card = c.view.designs.find((one) => one.id === opening.design);
  const points = Object.entries(opening.by_phones).map(([phones, key]) => ({
    phones,
    key,
    found: evidenceOf(c, key),
  }));
  const known = points.filter(({ found }) => hasValue(found));
  const last = known[known.length - 1];
  const says = last ? `${rateWords(last.found.value)} by ${phonesWords(last.phones)}` : "not measured";
  const marks = known.map(({ phones, key, found }) => ({
    key,
    value: found.value,
    low: found.low,
    high: found.high,
    open: found.value === 0 ? "down" : "",
    words: `${phonesWords(phones)} phones: ${rateWords(found.value)}`,
  }));
  const state = last ? "" : "not measured";
  return { label: card?.title ?? opening.design, key: last?.key, says, state, marks };
};
const openingsChart = (c) => {
  const rows = c.view.openings.map((one) => openingRow(c, one));
  const label = `Share of a list that modified phones open in a year: ${rows
    .map(
      (row) => `${row.label}:
${row.says}`,
    )
    .join("; ")}`;
  return logChart({ width: widthOf(c, "openings-chart"), rows, write: rateWords, label });
};

// Its title: at the number of phones of which most designs have a figure, what the lists lose.
const openingsTitle = (c) => {
  const points = new Map();
  for (const opening of c.view.openings) {
    for (const [phones, key] of Object.entries(opening.by_phones)) {
      if (hasValue(evidenceOf(c, key))) points.set(phones, [...(points.get(phones) ?? []), key]);
    }
  }
  if (!points.size) return "How much of a secret list modified phones can open was not measured in this run";
  const [phones, keys] = [...points].sort((one, other) => other[1].length - one[1].length || other[0] - one[0])[0];
  const ordered = [...keys].sort((one, other) => evidenceOf(c, one).value - evidenceOf(c, other).value);
  const least = figure(c, ordered[0], rateWords);
  const ends = ordered.length > 1 ? h`${least} to ${figure(c, ordered[ordered.length - 1], rateWords)}` : least;
  return h`In a year ${named("count", phonesWords(phones))} modified phones open ${ends} of a list, by design`;
};

const hasList = (card) => Object.keys(card.fates).length > 0;
const openingsSection = (c) => {
  const known = new Set(
    c.view.openings.filter((one) => Object.keys(one.by_phones).length).map((one) => one.design),
  );
  const lacking = c.view.designs.filter((card) => hasList(card) && !known.has(card.id));
  const opened = lacking.filter((card) => c.view.opened_by_asking.includes(card.id));
  const played = opened.length
    ? h` How much modified phones open in a year is not known there, which is no safety: attacks that were played opened
parts of a small list, by asking, in ${counted(opened.length)} of these designs
(${told(opened.map((card) => card.title).join("; "))}).`
    : "";
  const missing = lacking.length
    ? h`<p class="absent">${stateMark("not measured")} for ${joined(
        lacking.map((card) => card.title),
        "; ",
      )}.${played}</p>`
    : "";
  const phones = [...new Set(c.view.openings.flatMap((one) => Object.keys(one.by_phones)))];
  const rows = c.view.openings.map((one) => [
    titlesOf(c, [one.design])[0],
    ...phones.map((count) =>
      fieldOf(one.by_phones, count) ? figure(c, one.by_phones[count], rateWords) : stateMark("not measured"),
    ),
    told(one.says),
  ]);
  return frame(c, {
    id: "openings",
    title: openingsTitle(c),
    note: known.size
      ? "Each mark is a number of modified phones, from left to right more of them."
      : "A list is secret only as long as nobody can ask about every guess.",
    body: h`${known.size ? measured(c, "openings-chart", openingsChart) : ""}${missing}`,
    table: rows.length
      ? table(
          "Share of the list that is opened",
          ["Design", ...phones.map((count) => named("count", `${phonesWords(count)} phones`)), "In words"],
          rows,
        )
      : "",
    source: "what the run measured of each design\u2019s list and of the limits on questions.",
    level: 3,
  });
};
