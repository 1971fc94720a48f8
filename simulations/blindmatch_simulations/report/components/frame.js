// What every view of the page has: a title, a note, the table behind it, its source, and ways to take it along.
//
// In:   the context and the parts of a view.
// Out:  a section.

// `title` and `note` are markup or text; `body` is what is drawn; `table` is the same in numbers.
const frame = (c, { id, title, note = "", body, table = "", source, level = 2 }) => {
  const heading =
    level === 2 ? h`<h2 id="${id}-title">${title}</h2>` : h`<h3 class="big" id="${id}-title">${title}</h3>`;
  const behind = table
    ? h`<details class="behind"><summary>The table behind this view</summary>${table}</details>`
    : "";
  return h`<section class="view ${level === 2 ? "" : "part"}" id="${id}" aria-labelledby="${id}-title">
${heading}${note ? h`<p class="note">${note}</p>` : ""}${body}${behind}
<p class="source"><span>Source: ${source} ${runWords(c)}</span>
<button type="button" class="link" data-picture="${id}">save as picture</button>
<a class="link" href="#${id}" data-place="${id}">link to this view</a></p></section>`;
};

const runWords = (c) =>
  c.view.runs.map((run) => named("run", `Run of ${run.made_at.slice(0, 10)}, digest ${run.digest.slice(0, 16)}.`));

// All that tells a run from others, each on its own line.
const runInFull = (c) =>
  c.view.runs.map(
    (run) =>
      h`<p data-digits="run">Run of ${run.made_at}, made by <code>${run.command}</code> with the workload
${run.workload} on ${run.machine}.
Digest <code>${run.digest}</code>.</p>`,
  );

// A part that is drawn again while the reader moves something; `draws` is its function of the context.
const live = (c, id, draws) => h`<div id="${id}" class="live">${draws(c)}</div>`;
// The same, read aloud when it changes.
const announced = (c, id, draws) => h`<div id="${id}" class="live" aria-live="polite">${draws(c)}</div>`;
const liveWithin = (c, id, draws) => h`<span id="${id}" class="live">${draws(c)}</span>`;

// Rows of cells under a head; the first cell of a row names it.
const table = (caption, head, rows) =>
  h`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption>
<thead><tr>${head.map((one) => h`<th scope="col">${one}</th>`)}</tr></thead>
<tbody>${rows.map(
    ([first, ...rest]) => h`<tr><th scope="row">${first}</th>${rest.map((one) => h`<td>${one}</td>`)}</tr>`,
  )}</tbody></table></div>`;

const slider = ({ id, label, low, high, step, value, redraws, reversed = false }) =>
  h`<label for="${id}">${label}</label><input id="${id}" class="${reversed ? "reversed" : ""}" type="range"
min="${low}"
max="${high}" step="${step}" value="${value}" data-set="${id}" data-redraws="${redraws.join(" ")}"/>`;
