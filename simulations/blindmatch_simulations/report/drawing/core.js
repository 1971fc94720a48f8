"use strict";
// Drawing is pure: text from data, no document; `browser.js` alone knows of one.
let now = null; // what is drawn: run, runs, attacks, sources, given, open, kept, evidence (place -> text)

const NOTHING = "nothing to measure",
  UNLIMITED = "without limit";
// HTML is made by the tag `h` alone: what it is given is escaped, unless `h` made it; arrays stand part after part.
const [h, markup] = (() => {
  const made = new WeakSet();
  const escaped = (value) => String(value ?? "").replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
  const part = (value) => (Array.isArray(value) ? value.map(part).join("") : made.has(value) ? value.text : escaped(value));
  const tag = (strings, ...values) => {
    if (!Array.isArray(strings?.raw) || !Object.isFrozen(strings)) throw new Error("HTML comes from templates alone");
    const text = strings.map((one, at) => one + (at < values.length ? part(values[at]) : "")).join("");
    const html = Object.freeze({text, toString: () => text, toJSON: () => text, isHtml: true});
    made.add(html);
    return html;
  };
  const text = (html) => {
    if (!made.has(html)) throw new Error("not made by h");
    return html.text;
  };
  return [tag, text];
})();
// parts with something between them; nothing of none
const glue = (items, between = "") => (items.length ? h`${items.map((one, at) => (at ? h`${between}${one}` : h`${one}`))}` : "");
// the words of HTML: no tags, no addresses
const ENTITY = {34: '"', 38: "&", 39: "'", 60: "<", 62: ">"};
const wordsOf = (html) =>
  html?.isHtml
    ? html.text
        .replace(/<br\/>/g, "\n")
        .replace(/<[^>]*>/g, "")
        .replace(/&#(\d+);/g, (_, code) => ENTITY[code])
    : String(html);
const saying = (html) => String(html).replace(/ href="[^"]*"/g, "");
const soft = (words) => h`<span class="soft">${words}</span>`;
const mark = (provenance) => h`<span class="mark mark-${provenance}">${provenance}</span>`;
const list = (items) => h`<ul>${items.map((one) => h`<li>${one}</li>`)}</ul>`;
const unique = (items) => [...new Map(items.map((one) => [one?.isHtml ? one.text : one, one])).values()];

// ---- numbers, as people read them
const apart = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, "\u202f");
// powers of ten stand in words
const LARGE = [
  [1e18, ""],
  [1e15, "quadrillion"],
  [1e12, "trillion"],
  [1e9, "billion"],
  [1e6, "million"],
  [1, ""],
];
const large = (v) => {
  const [size, word] = LARGE.find(([one]) => v >= one) || [1, ""];
  if (size === 1e18) return "more than 1\u202f000 quadrillion";
  const digits = apart(String(Math.round(Number((v / size).toPrecision(3)) * 100) / 100));
  return word ? `${digits} ${word}` : apart(String(Math.round(Number(v.toPrecision(3)))));
};
const wordsOneIn = (v) => `1 in ${large(1 / v)}`;
const number = (v) => {
  const size = Math.abs(v);
  if (v === 0) return "0";
  if (Number.isInteger(v) && size < 1e7) return apart(String(v));
  if (size < 0.001 || size >= 1e12) return (v < 0 ? "\u2212" : "") + (size < 1 ? wordsOneIn(size) : large(size));
  return size >= 1000 ? apart(String(Math.round(Number(v.toPrecision(3))))) : String(Number(v.toPrecision(3)));
};
const PERCENT = "\u00a0%";
const percent = (share) => (share > 0 && share < 1e-5 ? number(share) : `${number(100 * share)}${PERCENT}`);
const between = (low, high, shown = number) => {
  const [least, most] = [shown(low), shown(high)];
  if (least === most) return least;
  if (/^1 in/.test(least)) return `${least} to ${high > 0 && high < 0.01 ? wordsOneIn(high) : most}`;
  return low < 0 ? `${least} to ${most}` : `${least.replace(PERCENT, "")}\u2013${most}`;
};
const bytes = (v) => {
  const at = v < 1000 ? 0 : Math.min(6, Math.floor(Math.log10(v) / 3));
  return `${number(Number((v / 1000 ** at).toPrecision(3)))}\u00a0${["B", "kB", "MB", "GB", "TB", "PB", "EB"][at]}`;
};

// ---- a results file, by the JSON Schema of all of them: the first thing that is wrong, in words, or nothing
const TYPES = {
  string: ["text", (v) => typeof v === "string"],
  number: ["a number", Number.isFinite],
  integer: ["a whole number", Number.isInteger],
  boolean: ["true or false", (v) => typeof v === "boolean"],
  null: ["null", (v) => v === null],
  object: ["an object", (v) => v !== null && typeof v === "object" && !Array.isArray(v)],
  array: ["a list", Array.isArray],
};
const first = (items, of) => items.reduce((words, one) => words || of(one), "");
const wrong = (value, rule, at, defs) => {
  const named = (one) => (one.$ref ? defs[one.$ref.split("/").pop()] : one);
  const must = (words) => `${at || "the file"}: must be ${words}`;
  if (rule.$ref) return wrong(value, named(rule), at, defs);
  if (rule.discriminator) {
    const {mapping, propertyName} = rule.discriminator,
      kind = value?.[propertyName];
    if (!Object.hasOwn(mapping, kind ?? "")) return `${at}.${propertyName}: must be ${Object.keys(mapping).join(" or ")}`;
    return wrong(value, {$ref: mapping[kind]}, at, defs);
  }
  if (rule.anyOf) {
    const either = rule.anyOf.map(named);
    const fits = either.find((one) => (one.enum ? one.enum.includes(value) : TYPES[one.type][1](value)));
    return fits ? wrong(value, fits, at, defs) : must(either.map((one) => one.enum?.join(" or ") || TYPES[one.type][0]).join(" or "));
  }
  if (rule.enum && !rule.enum.includes(value)) return must(rule.enum.join(" or "));
  if (rule.type && !TYPES[rule.type][1](value)) return must(TYPES[rule.type][0]);
  if (rule.pattern && !new RegExp(rule.pattern).test(value)) return must(`of the form ${rule.pattern}`);
  if (rule.type === "array" && rule.items)
    return first([...value.entries()], ([i, one]) => wrong(one, rule.items, `${at}[${i}]`, defs));
  if (rule.type !== "object") return "";
  const known = rule.properties || {},
    more = rule.additionalProperties;
  const missing = (rule.required || []).find((name) => !Object.hasOwn(value, name));
  if (missing) return `${at && `${at}.`}${missing}: is missing`;
  return first(Object.entries(value), ([name, one]) => {
    const where = at ? `${at}.${name}` : name;
    if (Object.hasOwn(known, name)) return wrong(one, known[name], where, defs);
    return more === false ? `${where}: no field of a results file` : more ? wrong(one, more, where, defs) : "";
  });
};
const checked = (run, schema) => {
  const words = wrong(run, schema, "", schema.$defs);
  if (words) throw new Error(words);
};

// ---- places: every number is a link that opens what it stands on
// whole: other parts are another place
const coded = (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`;
const place = (...parts) => parts.map((one) => encodeURIComponent(one).replace(/[.~!*'()]/g, coded)).join(".");
const to = (where, words, kind = "n") => h`<a class="${kind}" href="#${where}${now.kept}">${words}</a>`;
const opens = (where, words, evidence) => {
  now.evidence.set(String(where), evidence);
  return now.flat ? words : to(where, words);
};
const facts = (pairs) =>
  h`<dl>${pairs.filter((one) => one && String(one[1]) !== "").map(([name, value]) => h`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
const evidence = (title, pairs) => h`<h2 id="evidence-title">${title}</h2>${facts(pairs)}`;
const json = (value) => h`<code class="json">${JSON.stringify(value)}</code>`;

// ---- figures of a row
const kindOf = (name) => now.sources.figures[name] || {title: name, says: "", unit: "", rows: "summary"};
// figures of a list, of a design that flags a category; tries that nobody counts: also of files that give a number
const OF_LISTED = ["recall", "recall_pairs", "recall_identical", "false_matches", "evading"];
const LACKING = "not in this results file";
// of a centre that tries vouchers no work was timed, which is not that there is none; where nothing is sent for a picture,
// nothing can tell two apart
const AT_SERVERS = ["server_cpu_ms", "matcher_cpu_ms", "server_u", "server_growth_u", "server_more_u"];
const SENDS_NONE = "nothing is sent for a picture";
const whyNone = (row, name, why) => {
  if (AT_SERVERS.includes(name) && row.design?.learns.includes("centre")) return "the centre\u2019s work on vouchers was not timed";
  return name === "advantage" && why.split("; ").every((one) => one.endsWith(SENDS_NONE)) ? `${NOTHING}: ${SENDS_NONE}` : why;
};
const figureOf = (row, name) => {
  const {relation, roles, learns} = row.design || {};
  if (relation === "category" && OF_LISTED.includes(name))
    return {value: null, why: `${NOTHING}: it flags a category, no listed pictures`};
  if (name === "oracle_tries" && roles && !Object.keys(roles).length && learns.includes("device"))
    return {value: null, why: `${UNLIMITED}: a device tests pictures by itself`};
  const found = row.figures?.[name];
  if (found?.value === null) return {...found, why: whyNone(row, name, found.why)};
  if (found) return found;
  return {value: null, why: name === "key_life" ? `${LACKING}; what stands beside costs follows from the limits of keys` : LACKING};
};
const valueOf = (row, name) => figureOf(row, name).value;
const absent = (why) =>
  h`<span class="nm">${[NOTHING, UNLIMITED].find((one) => String(why).startsWith(one)) || "not measured"}</span>`;
// copies of a design that was not sent all are counted, and give no share: shares of other copies do not compare
const ofFewer = (row, name, figure) =>
  Boolean(row?.copies?.why || (row?.lessened && /^\d+ of \d+ pictures/.test(row.lessened))) &&
  kindOf(name).unit === "share" &&
  kindOf(name).rows === "pictures" &&
  figure.value !== null;
const counted = (figure) => `${number(Math.round(figure.value * figure.n))} of ${number(figure.n)}, no share`;
const plain = (v) => String(Number(v.toPrecision(3)));
const isSlope = (unit) => unit.startsWith("u/") || unit.endsWith("1,000 entries");
const shown = (name, figure, row = null) => {
  if (figure.value === null) return absent(figure.why);
  if (ofFewer(row, name, figure)) return counted(figure);
  const unit = kindOf(name).unit || figure.unit;
  if (unit === "SSIM") return `likeness ${number(figure.value)} of 1`;
  if (name === "oracle_tries") return triesIn(figure);
  if (BOUNDS.includes(name) && saysLittle(figure.value)) return `at most ${number(figure.value)}: too few runs to say`;
  const marked = isDisturbed(figure) ? " (disturbed)" : "";
  return unit === "share" ? percent(figure.value) : `${(isSlope(unit) ? plain : number)(figure.value)} ${unit}${marked}`;
};
// what limits allow: under a key, which any number of days share, or by the rate of a day, whatever an answer takes
const triesIn = ({value, why}) => `${number(value)} tries a ${String(why).startsWith("the limits of a key") ? "key" : "day"}`;
// a bound on an advantage that leaves nearly all open
const BOUNDS = ["advantage", "list_advantage"];
const saysLittle = (bound) => bound > 0.5;
// other work used the machine while a time was taken
const isDisturbed = (figure) => String(figure.why || "").startsWith("disturbed");
// what low and high are (measure/intervals.py, level_of); files of before levels were named follow the same rules
const levelOf = (figure, unit) => {
  const stated = /\d+(\.\d+)? % interval/.exec(figure.why || "");
  if (stated) return stated[0];
  if (isSlope(unit) && (figure.n || 0) < 6) return "99 % interval";
  return unit === "share" || isSlope(unit) ? "95 % interval" : "lowest to highest";
};
const spread = (figure, unit) => {
  if (figure.low === null || figure.low === undefined || figure.low === figure.high) return "";
  return between(figure.low, figure.high, unit === "share" ? percent : isSlope(unit) ? plain : number);
};
const rawRows = (row, rows) =>
  rows === "summary"
    ? "one reading, in the row itself"
    : rows === CORPUS
      ? h`none of this run: <code>evidence.json</code> of the program`
      : h`<code>rows/${row.id}.jsonl</code>, kind <code>${rows}</code>`;
// ---- the reference corpus: its figure of a design stands in the place of the run's own, wherever it has a value
const CORPUS = "corpus";
const best = (row, name) => {
  const other = kindOf(name).evidence;
  return other && valueOf(row, other) !== null ? other : name;
};
const corpus = (part) => now.sources.evidence.filter((one) => one.id === `evidence/${part}`);
const kindsOfCorpus = (within = 31) => corpus("false").filter((one) => one.within === within && one.list === "all" && one.kind !== "all");
// how a design matches, a row of the evidence; nothing if the run's figure is not of this evidence
const wayOf = (row) =>
  corpus("recall").find(
    (one) =>
      one.kind === "photograph" && one.designs.split(", ").includes(row.design.name) && one.found?.value === valueOf(row, "corpus_recall"),
  );
// whether this run's whole protocols ended as the hashes say, picture by picture
const asHashes = (row) => {
  const {value, n} = figureOf(row, "wrong_outcomes");
  return value === null ? "not compared" : value ? `${number(Math.round(value * n))} differ` : "agrees";
};
const countOf = (figure, missed = false, between = " of ") =>
  h`${number(Math.round((missed ? 1 - figure.value : figure.value) * figure.n))}${between}${number(figure.n)}`;
const beside = (row, name) => {
  const own = Object.keys(now.sources.figures).find((one) => kindOf(one).evidence === name) || "recall",
    figure = figureOf(row, own),
    all = figureOf(row, "wrong_outcomes"),
    whole = corpus("sessions").find((one) => one.design === row.design.name)?.agreed;
  const says = {agrees: "the hash level says the same for each", "not compared": "not compared with hashes"}[asHashes(row)];
  return [
    [
      "whole protocols of this run",
      figure.value === null
        ? absent(figure.why)
        : h`${own === "false_matches" ? "flagged" : "found"} ${countOf(figure)}; of ${number(all.n)} pictures sent in all, ${says || `${asHashes(row)} from what hashes say`}`,
    ],
    [
      "whole protocols on the corpus that end as the hashes say",
      !whole || whole.value === null ? h`${absent("")}: ${whole?.why}` : countOf(whole),
    ],
  ];
};
const figureEvidence = (row, name, figure = figureOf(row, name), rows = kindOf(name).rows, command = now.run.command) => {
  const kind = kindOf(name),
    unit = kind.unit || figure.unit || "";
  return evidence(h`${code(row)}: ${kind.title}`, [
    ["value", figure.value === null ? absent(figure.why) : shown(name, figure, row)],
    ["what it is", kind.says || row.what],
    [figure.value === null ? "why not measured" : "note", plainly(figure.why || "")],
    [levelOf(figure, unit), ofFewer(row, name, figure) ? "" : spread(figure, unit)],
    [
      "behind it",
      figure.n == null
        ? ""
        : `${number(figure.n)} trials${figure.pairs == null ? "" : `, each against ${number(Math.round(figure.pairs / figure.n))} listed`}`,
    ],
    ...(rows === CORPUS && figure.value !== null ? beside(row, name) : []),
    ["guessing shows up to", figure.resolution == null ? "" : number(figure.resolution)],
    row.lessened ? ["too dear for the whole workload", row.lessened] : null,
    ["row in results.json", h`rows, id <code>${row.id}</code>, figures, <code>${name}</code>: ${json(figure)}`],
    ["raw rows", rawRows(row, rows)],
    ["command", h`<code>${rows === CORPUS ? "blindmatch corpus evidence" : command}</code>`],
  ]);
};
const others = (row, name) =>
  now.runs.flatMap((run, at) => {
    const other = run === now.run ? null : run.rows.find((one) => one.id === row.id && one.figures[name]);
    if (!other || !differ(row, other, name)) return [];
    return [h`<span class="differs">${soft(h`\u2260 run ${at + 1}: ${shown(name, other.figures[name], other)}`)}</span>`];
  });
const fig = (row, name, words = null) =>
  h`${opens(place(row.id, name), words ?? shown(name, figureOf(row, name), row), () => figureEvidence(row, name))}${others(row, name)}`;
const figFull = (row, name) => {
  const figure = figureOf(row, name),
    unit = kindOf(name).unit;
  const beside =
    unit === "share" || isSlope(unit)
      ? !ofFewer(row, name, figure) && spread(figure, unit)
      : figure.resolution == null
        ? ""
        : `guessing shows up to ${number(figure.resolution)} in ${number(figure.n)} runs a class`;
  return h`${fig(row, name)}${figure.value !== null && beside ? h` ${soft(`(${beside})`)}` : ""}`;
};

// ---- rows of a run
const designs = (run = now.run) => run.rows.filter((one) => one.kind === "design");
const studies = (run = now.run) => run.rows.filter((one) => one.kind === "study");
const failed = (run = now.run) => run.rows.filter((one) => one.kind === "row");
const inOrder = (run = now.run) =>
  now.sources.options
    .flatMap((option) => designs(run).filter((one) => one.design.option === option.id))
    .concat(designs(run).filter((one) => !now.sources.options.some((option) => option.id === one.design.option)));
// the design of this run that a row's is a variant of, by the page's words
const kindOfVariant = (row) => now.sources.variants.find((one) => Object.hasOwn(one.of, row.id));
const baseOf = (row) => {
  const kind = kindOfVariant(row);
  return kind && row.kind === "design" ? designs().find((one) => one.id === kind.of[row.id]) : undefined;
};
// the most severe facts first
const bySeverity = (facts) => {
  const at = (fact) => now.sources.severities.indexOf(fact.severity);
  return [...facts].sort((a, b) => at(a) - at(b));
};
const check = (row, name) => row.checks.find((one) => one.check === name);

// names of attacks; of facts, designs and methods within words of the data: as people say them
const attackName = (id) => (Object.hasOwn(now.sources.attacks, id) ? now.sources.attacks[id] : id);
const plainly = (words) => {
  const {methods, names} = now.sources,
    own = (one) => [methods, /-/.test(one) ? names : {}].find((all) => Object.hasOwn(all, one))?.[one];
  return String(words).replace(/[A-Za-z]+(?:[-_][A-Za-z]+)*/g, (one) => own(one) ?? one.replace(/_/g, " "));
};
// what is the same in all of a drawing
const once = (name, make) => (now.once.has(name) ? now.once : now.once.set(name, make())).get(name);

// ---- pieces of the page
const term = (name, words = name) =>
  h`<a class="term" href="#term-${place(name)}${now.kept}" title="${now.sources.glossary[name]}">${words}</a>`;
// words of the page's own data, in which [[term]] or [[term|words]] stands
const terms = (words) => words.split(/\[\[([^\]]+)\]\]/).map((one, at) => (at % 2 ? term(...one.split("|")) : one));
const section = (id, title, ...parts) =>
  h`<section id="${id}" aria-labelledby="h-${id}"><h2 id="h-${id}">${title}</h2>${parts}</section>`;
const para = (words) => h`<p>${words}</p>`;
const fold = (id, title, body) =>
  h`<details id="${id}"${now.open.has(id) ? h` open=""` : ""}><summary>${title}</summary>${body}</details>`;
const table = (caption, head, rows, kind = "") => {
  const top = head.map((one) => h`<th scope="col" role="columnheader">${one}</th>`);
  // a row of one cell heads those below it; the second of two fills the row
  const body = rows.map((row) =>
    row.length === 1
      ? h`<tr role="row"><th scope="colgroup" role="rowheader" colspan="${head.length}">${row[0]}</th></tr>`
      : h`<tr role="row"><th scope="row" role="rowheader">${row[0]}</th>${row
        .slice(1)
        .map((one, at) =>
          row.length === 2 && head.length > 2
            ? h`<td role="cell" data-label="says" colspan="${head.length - 1}">${one}</td>`
            : h`<td role="cell" data-label="${wordsOf(head[at + 1])}">${one}</td>`,
        )}</tr>`,
  );
  return h`<div class="scroll ${kind.includes("flat") ? "" : "stack"} ${kind}${head.length > 9 ? " many" : ""}" role="region" tabindex="0" aria-label="${wordsOf(caption)}"><table role="table"><caption>${caption}</caption><thead role="rowgroup"><tr role="row">${top}</tr></thead><tbody role="rowgroup">${body}</tbody></table></div>`;
};
// columns in which all rows say the same become sentences
const lifted = (caption, head, rows) => {
  const same = head.map((_, at) => at > 0 && rows.length > 1 && rows.every((row) => saying(row[at]) === saying(rows[0][at])));
  const said = head.flatMap((name, at) => (same[at] ? [h`<b>${name}</b>, in every design: ${rows[0][at]}.`] : []));
  const kept = (row) => row.filter((_, at) => !same[at]);
  return [said.length ? para(glue(said, " ")) : "", table(caption, kept(head), rows.map(kept))];
};
const groupsBy = (rows, key) => {
  const groups = new Map();
  rows.forEach((row) => {
    const at = String(key(row));
    groups.set(at, [...(groups.get(at) || []), row]);
  });
  return [...groups.values()];
};
// a variant that says what its base says stands with it; an option is said once, and alone if all its designs are meant
const named = (rows) => {
  const own = rows.filter((row) => !rows.includes(baseOf(row))),
    plain_ = ({id}) => Object.hasOwn(now.sources.names, id);
  const varied = (row) => rows.filter((one) => baseOf(one) === row);
  const said = (each) => {
    const all = now.run.rows.filter((row) => optionIn(row) && optionIn(row) === optionIn(each[0])),
      meant = each.flatMap((row) => [row, ...varied(row)]);
    if (all.length === meant.length && all.every((row) => meant.includes(row) && plain_(row))) return [inPlain(meant, optionIn(each[0]))];
    return each.map((row) => {
      const name = row === each.find(plain_) ? code(row) : nameOf(row),
        more = varied(row);
      return more.length ? h`${name} (${inPlain(more, `also ${clause(kindOfVariant(more[0]).says)}`)})` : name;
    });
  };
  return glue(groupsBy(own, optionIn).flatMap(said), ", ");
};
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
// rows that say the same stand as one, named by all their designs
const alike = (rows, cells) =>
  groupsBy(rows, (row) => cells(row).map(saying).join("|")).map((same) => [named(same), ...cells(same[0])]);
