// What every view of the page has: a title, a note, the table behind it, its source, and ways to take it along.
//
// In:   the context and the parts of a view.
// Out:  a section.

// `title` and `note` are markup or text; `body` is what is drawn; `table` is the same in numbers.
// `runs` are those that it stands on: the view model's own, unless others are named.
const frame = (c, { id, title, note = "", body, table = "", source, level = 2, runs = c.view.runs }) => {
  const heading =
    level === 2 ? h`<h2 id="${id}-title">${title}</h2>` : h`<h3 class="big" id="${id}-title">${title}</h3>`;
  const behind = table
    ? h`<details class="behind"><summary>The table behind this view</summary>${table}</details>`
    : "";
  return h`<section class="view ${level === 2 ? "" : "part"}" id="${id}" aria-labelledby="${id}-title">
${heading}${note ? h`<p class="note">${note}</p>` : ""}${body}${behind}
<p class="source"><span>Source: ${source} ${runWords(runs)}</span>
<button type="button" class="link" data-picture="${id}">save as picture</button>
<a class="link" href="#${id}" data-place="${id}">link to this view</a></p></section>`;
};

const runWords = (runs) =>
  runs.map((run) => named("run", `Run of ${run.made_at.slice(0, 10)}, digest ${run.digest.slice(0, 16)}.`));

// All that tells a run from others, each on its own line; attacks were played in a run of their own.
const runInFull = (c) => [
  ...c.view.runs.map((run) => oneRun("Run", run)),
  ...(c.view.attacks_run ? [oneRun("Attacks: run", c.view.attacks_run)] : []),
];
const oneRun = (name, run) =>
  h`<p data-digits="run">${name} of ${run.made_at}, made by <code>${run.command}</code>${
    run.workload ? ` with the workload ${run.workload}` : ""
  } on ${run.machine}.
Digest <code>${run.digest}</code>.</p>`;

// A part that is drawn again while the reader moves something; `draws` is its function of the context.
const live = (c, id, draws) => h`<div id="${id}" class="live">${draws(c)}</div>`;
// The same, read aloud when it changes.
const announced = (c, id, draws) => h`<div id="${id}" class="live" aria-live="polite">${draws(c)}</div>`;
const liveWithin = (c, id, draws) => h`<span id="${id}" class="live">${draws(c)}</span>`;

// Rows of cells under a head; the first cell of a row names it. On a phone each cell stands under its own head,
// so that a table keeps all its columns; roles keep it a table there.
const table = (caption, head, rows) =>
  h`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table class="plain"
role="table"><caption>${caption}</caption>
<thead role="rowgroup"><tr role="row">${head.map(
    (one) => h`<th role="columnheader" scope="col">${one}</th>`,
  )}</tr></thead>
<tbody role="rowgroup">${rows.map(([first, ...rest]) => tableRow(head, first, rest))}</tbody></table></div>`;
const tableRow = (head, first, rest) =>
  h`<tr role="row"><th role="rowheader" scope="row">${first}</th>${rest.map(
    (one, at) => h`<td role="cell"><span class="lab">${head[at + 1]}</span>${one}</td>`,
  )}</tr>`;

const slider = ({ id, label, low, high, step, value, redraws, reversed = false }) =>
  h`<label for="${id}">${label}</label><input id="${id}" class="${reversed ? "reversed" : ""}" type="range"
min="${low}"
max="${high}" step="${step}" value="${value}" data-set="${id}" data-redraws="${redraws.join(" ")}"/>`;
