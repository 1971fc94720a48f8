"use strict";
// Drawing is pure: text from data, no document; `browser.js` alone knows of one.
let now = null; // what is drawn: run, runs, attacks, sources, given, open, kept, evidence (place -> text)

const NOTHING = "nothing to measure";
const esc = (value) => String(value).replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
const soft = (words) => `<span class="soft">${words}</span>`;
const mark = (provenance) => `<span class="mark mark-${esc(provenance)}">${esc(provenance)}</span>`;
const list = (items) => `<ul>${items.map((one) => `<li>${one}</li>`).join("")}</ul>`;
const unique = (items) => [...new Set(items)];

// ---- numbers, as people read them
const RAISED = "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
const power = (words) =>
  words.replace(
    /e([+-]\d+)$/,
    (_, exponent) =>
      `\u00a0\u00d7\u00a010${[...String(Number(exponent))].map((one) => RAISED["-0123456789".indexOf(one)]).join("")}`,
  );
const apart = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, "\u202f");
const number = (v) => {
  const size = Math.abs(v);
  if (v === 0) return "0";
  if (Number.isInteger(v) && size < 1e7) return apart(String(v));
  if (size < 0.001 || size >= 1e12) return power(v.toExponential(1));
  return size >= 1000 ? apart(String(Math.round(Number(v.toPrecision(3))))) : String(Number(v.toPrecision(3)));
};
const PERCENT = "\u00a0%";
const percent = (share) => `${number(100 * share)}${PERCENT}`;
const between = (low, high, shown = number) => {
  const [least, most] = [shown(low), shown(high)];
  if (least === most) return least;
  return low < 0 || /10[\u2070-\u207b]/.test(least) ? `${least} to ${most}` : `${least.replace(PERCENT, "")}\u2013${most}`;
};
const bytes = (v) => {
  const at = v < 1000 ? 0 : Math.min(6, Math.floor(Math.log10(v) / 3));
  return `${number(Number((v / 1000 ** at).toPrecision(3)))}\u00a0${["B", "kB", "MB", "GB", "TB", "PB", "EB"][at]}`;
};

// ---- places: every number is a link that opens what it stands on
const place = (...parts) => parts.map((one) => encodeURIComponent(one).replace(/[.~!*'()]/g, "_")).join(".");
const to = (where, words, kind = "n") => `<a class="${kind}" href="#${where}${now.kept}">${words}</a>`;
const opens = (where, words, evidence) => {
  now.evidence.set(where, evidence);
  return to(where, words);
};
const facts = (pairs) =>
  `<dl>${pairs
    .filter((one) => one && one[1] !== "")
    .map(([name, value]) => `<dt>${esc(name)}</dt><dd>${value}</dd>`)
    .join("")}</dl>`;
const evidence = (title, pairs) => `<h2 id="evidence-title">${title}</h2>${facts(pairs)}`;
const json = (value) => `<code class="json">${esc(JSON.stringify(value))}</code>`;

// ---- figures of a row
const kindOf = (name) => now.sources.figures[name] || {title: name, says: "", unit: "", rows: "summary"};
const figureOf = (row, name) => (row.figures || {})[name] || {value: null, why: "not in this results file"};
const valueOf = (row, name) => figureOf(row, name).value;
const absent = (why) => `<span class="nm">${String(why).startsWith(NOTHING) ? NOTHING : "not measured"}</span>`;
const shown = (name, figure) => {
  if (figure.value === null) return absent(figure.why);
  const unit = kindOf(name).unit || figure.unit;
  return unit === "share" ? percent(figure.value) : `${number(figure.value)} ${esc(unit)}`;
};
const spread = (figure, unit) => {
  if (figure.low === null || figure.low === undefined || figure.low === figure.high) return "";
  return between(figure.low, figure.high, unit === "share" ? percent : number);
};
const rawRows = (row, rows) =>
  rows === "summary"
    ? "one reading, in the row itself"
    : `<code>rows/${esc(row.id)}.jsonl</code>, kind <code>${esc(rows)}</code>`;
const figureEvidence = (row, name, figure = figureOf(row, name), rows = kindOf(name).rows, command = now.run.command) => {
  const kind = kindOf(name),
    unit = kind.unit || figure.unit || "";
  return evidence(`${esc(row.id)}: ${esc(kind.title)}`, [
    ["value", figure.value === null ? absent(figure.why) : shown(name, figure)],
    ["what it is", esc(kind.says || row.what)],
    [figure.value === null ? "why not measured" : "note", esc(figure.why || "")],
    [unit === "share" ? "95 % interval" : "lowest to highest", spread(figure, unit)],
    [
      "behind it",
      figure.n == null
        ? ""
        : `${number(figure.n)} trials${figure.pairs == null ? "" : `, ${number(figure.pairs)} pairs of picture and entry`}`,
    ],
    ["by guessing alone", figure.resolution == null ? "" : number(figure.resolution)],
    row.lessened ? ["too dear for the whole workload", esc(row.lessened)] : null,
    ["row in results.json", `rows, id <code>${esc(row.id)}</code>, figures, <code>${esc(name)}</code>: ${json(figure)}`],
    ["raw rows", rawRows(row, rows)],
    ["command", `<code>${esc(command)}</code>`],
  ]);
};
const others = (row, name) =>
  now.runs
    .flatMap((run, at) => {
      const other = run === now.run ? null : run.rows.find((one) => one.id === row.id && one.figures[name]);
      if (!other || !differ(row, other, name)) return [];
      return [`<span class="differs">${soft(`\u2260 run ${at + 1}: ${shown(name, other.figures[name])}`)}</span>`];
    })
    .join("");
const fig = (row, name, words = null) =>
  opens(place(row.id, name), words ?? shown(name, figureOf(row, name)), () => figureEvidence(row, name)) + others(row, name);
const figFull = (row, name) => {
  const figure = figureOf(row, name),
    unit = kindOf(name).unit;
  const beside =
    unit === "share"
      ? spread(figure, unit)
      : figure.resolution == null
        ? ""
        : `${number(figure.resolution)} by guessing, ${number(figure.n)} runs`;
  return fig(row, name) + (figure.value !== null && beside ? ` ${soft(`(${beside})`)}` : "");
};

// ---- rows of a run
const designs = (run = now.run) => run.rows.filter((one) => one.kind === "design");
const studies = (run = now.run) => run.rows.filter((one) => one.kind === "study");
const failed = (run = now.run) => run.rows.filter((one) => one.kind === "row");
const inOrder = (run = now.run) =>
  now.sources.options
    .flatMap((option) => designs(run).filter((one) => one.design.option === option.id))
    .concat(designs(run).filter((one) => !now.sources.options.some((option) => option.id === one.design.option)));
const severityOf = (fact, device = false) => {
  const kinds = now.sources.severity,
    at = kinds.findIndex((one) => one.facts.includes(fact));
  return at >= 0 ? at : device ? kinds.length : -1;
};
const kindOfFact = (fact) => (now.sources.severity[severityOf(fact)] || {kind: "undeclared severity"}).kind;
const bySeverity = (items, device = false) => [...items].sort((a, b) => severityOf(a.name, device) - severityOf(b.name, device));
const plain = (fact) => now.sources.facts[fact.name] || {};
const check = (row, name) => row.checks.find((one) => one.check === name);

// ---- pieces of the page
const terms = (html) =>
  html.replace(
    /\[\[([^\]|]+)(?:\|([^\]]+))?\]\]/g,
    (_, term, words) =>
      `<a class="term" href="#term-${place(term)}${now.kept}" title="${esc(now.sources.glossary[term])}">${words || term}</a>`,
  );
const section = (id, title, ...parts) =>
  `<section id="${id}" aria-labelledby="h-${id}"><h2 id="h-${id}">${title}</h2>${parts.join("")}</section>`;
const para = (words) => `<p>${terms(words)}</p>`;
const fold = (id, title, body) =>
  `<details id="${id}"${now.open.has(id) ? ' open=""' : ""}><summary>${title}</summary>${body}</details>`;
const table = (caption, head, rows, kind = "") => {
  const top = head.map((one) => `<th scope="col" role="columnheader">${one}</th>`).join("");
  const label = (at) => esc(String(head[at]).replace(/<[^>]*>/g, ""));
  const body = rows
    .map(
      (row) =>
        `<tr role="row"><th scope="row" role="rowheader">${row[0]}</th>${row
          .slice(1)
          .map((one, at) => `<td role="cell" data-label="${label(at + 1)}">${one}</td>`)
          .join("")}</tr>`,
    )
    .join("");
  return (
    `<div class="scroll stack ${kind}${head.length > 9 ? " many" : ""}" role="region" tabindex="0" aria-label="${caption.replace(/<[^>]*>/g, "")}">` +
    `<table role="table"><caption>${caption}</caption><thead role="rowgroup"><tr role="row">${top}</tr></thead>` +
    `<tbody role="rowgroup">${body}</tbody></table></div>`
  );
};
// columns in which all rows say the same become sentences
const lifted = (caption, head, rows) => {
  const same = head.map(
    (_, at) =>
      at > 0 &&
      rows.length > 1 &&
      rows.every((row) => row[at].replace(/ href="[^"]*"/g, "") === rows[0][at].replace(/ href="[^"]*"/g, "")),
  );
  const said = head.flatMap((name, at) => (same[at] ? [`<b>${name}</b>, in every design: ${rows[0][at]}.`] : []));
  const kept = (row) => row.filter((_, at) => !same[at]);
  return (said.length ? `<p>${said.join(" ")}</p>` : "") + table(caption, kept(head), rows.map(kept));
};
// rows that say the same stand as one, named by all their designs
const alike = (rows, cells) => {
  const groups = new Map();
  rows.forEach((row) => {
    const own = cells(row),
      key = own.map((one) => one.replace(/ href="[^"]*"/g, "")).join("|");
    groups.set(key, {rows: [...(groups.get(key)?.rows || []), row], cells: groups.get(key)?.cells || own});
  });
  return [...groups.values()].map((one) => [named(one.rows), ...one.cells]);
};
const groupsBy = (rows, key) => {
  const groups = new Map();
  rows.forEach((row) => groups.set(key(row), [...(groups.get(key(row)) || []), row]));
  return [...groups.values()];
};
const named = (rows) => rows.map(code).join(", ");
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
