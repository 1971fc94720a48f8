// "Try one": a picture, an edit, and whether the original is listed.
//
// In:   `c.tried` (pictures, edits, answers by design, small pictures), or null; what the reader chose.
// Out:  the choice, what is sent, and what each design answers, for the table of all designs.
const chosenShot = (c) => {
  if (!c.tried) return null;
  const picture = c.tried.pictures[c.state.picture];
  return fieldOf(c.tried.shots, picture.id)?.[c.state.edit] ?? null;
};

// The answer of a design to what is chosen; null where it was not asked.
const answerOf = (c, card) => {
  if (!c.tried) return null;
  const trial = fieldOf(c.tried.answers, card.id);
  if (!trial) return null;
  const side = c.state.listed ? trial.listed : trial.unlisted;
  return fieldOf(side, c.tried.pictures[c.state.picture].id)?.[c.state.edit] ?? null;
};
const REPORTED = new Set(["found", "another entry found", "flagged"]);
const isReported = (answer) => REPORTED.has(answer);

const PILLS = {
  found: "found",
  "counted as a match": "counts",
  "another entry found": "wrong",
  missed: "missed",
  "nothing to find": "plain",
  flagged: "flagged",
  "not flagged": "plain",
  "does not look": "away",
};
const answerPill = (c, card) => {
  const answer = answerOf(c, card);
  const why = fieldOf(c.tried.not_covered, card.id);
  const state = card.matches === "nothing" ? "does not apply" : "not run";
  if (!answer)
    return h`<span class="pill-why">${stateMark(state)} ${why ? h`<small>${told(why)}</small>` : ""}</span>`;
  return h`<span class="pill pill-${fieldOf(PILLS, answer) ?? "plain"}">${answer}</span>`;
};

const editNote = (c, name) => c.view.edits.find((one) => one.name === name)?.note ?? name;

const radio = ({ name, at, checked, label, image = "", redraws }) =>
  h`<label><input type="radio" name="${name}" id="${name}-${at}" value="${at}" data-set="${name}"
data-redraws="${redraws}"${flag("checked", checked)}/>${
    image
      ? h`<img src="${image}" alt=""
loading="lazy"/>`
      : ""
  }<span>${label}</span></label>`;

const AFTER_CHOICE = "try-stage tiles-note designs-table";

const pictureChoice = (c) =>
  c.tried.pictures.map((one, at) =>
    radio({
      name: "picture",
      at,
      checked: at === c.state.picture,
      label: named("picture", one.title),
      image: fieldOf(c.tried.shots, one.id)?.[0]?.picture,
      redraws: `try-edits ${AFTER_CHOICE}`,
    }),
  );

const editChoice = (c) => {
  if (!c.tried) return "";
  const shots = fieldOf(c.tried.shots, c.tried.pictures[c.state.picture].id) ?? [];
  return h`${c.tried.edits.map((name, at) =>
    radio({
      name: "edit",
      at,
      checked: at === c.state.edit,
      label: named("edit", editNote(c, name)),
      image: shots[at]?.picture,
      redraws: AFTER_CHOICE,
    }),
  )}`;
};

const listedChoice = (c) =>
  [
    ["is on the list", 1],
    ["is not on the list", 0],
  ].map(([label, at]) =>
    radio({ name: "listed", at, checked: Number(c.state.listed) === at, label, redraws: AFTER_CHOICE }),
  );

// How many designs gave each answer, in a sentence.
const verdict = (c) => {
  const answers = c.view.designs.map((card) => answerOf(c, card));
  const count = (answer) => answers.filter((one) => one === answer).length;
  const parts = Object.keys(PILLS)
    .filter((answer) => count(answer))
    .map((answer) => h`\u201c${answer}\u201d in ${counted(count(answer))}`);
  const unasked = answers.filter((one) => !one).length;
  const rest = unasked ? h`; ${counted(unasked)} could not be asked` : "";
  const edit = c.tried.edits[c.state.edit];
  const title = c.tried.pictures[c.state.picture].title;
  const original = c.state.listed ? "is on the list" : "is not on the list";
  return h`${named("picture", title)}, edited: ${named("edit", editNote(c, edit))}. The original ${original}.
The answer is ${joined(parts)}
of the designs below${rest}. One picture shows how a design works, and says nothing about how often it errs.`;
};

const tryStage = (c) => {
  const shot = chosenShot(c);
  if (!shot) return "";
  const alt = c.tried.pictures[c.state.picture].alt;
  return h`<div class="stage"><div class="sent"><img src="${shot.picture}" alt="${alt}"/><span>what is
sent</span></div>
<div class="sent"><img class="square" src="${shot.likeness}" alt="a blurred likeness"/><span>redrawn from its
hash</span></div>
<p>${verdict(c)}</p></div>`;
};

const creditOf = (picture) => named("picture", `${picture.title}: ${picture.package}, ${picture.licence}`);

const tryChoice = (c) => {
  if (!c.tried) {
    return h`<p class="absent">${stateMark("not run")} Four harmless pictures can be sent through every design
here, with any
edit. This run was made without them: \u201ctry one\u201d needs the file try.json beside the results.</p>`;
  }
  return h`<div class="choice" id="try"><fieldset><legend>Choose a picture</legend><div class="pick
large">${pictureChoice(c)}</div></fieldset>
<fieldset><legend>Change it on the way</legend><div class="pick">${live(c, "try-edits", editChoice)}</div></fieldset>
<fieldset><legend>The original</legend><div class="seg">${listedChoice(c)}</div></fieldset></div>
${announced(c, "try-stage", tryStage)}
<p class="note"><abbr title="Numbers that are computed from how a picture looks. Copies that look alike have
hashes that differ little.">A hash</abbr> is computed from how a picture looks, and a blurred likeness can be
redrawn from
it. Answers are from real sessions with each design, made beforehand, with a list of these pictures and of
${named("words", c.tried.fillers)} random entries.
<small>${joined(c.tried.pictures.map(creditOf), "; ")}.</small></p>`;
};
