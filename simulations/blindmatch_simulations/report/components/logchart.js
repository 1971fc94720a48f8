// The one chart of this page with a logarithmic axis: rows of marks, drawn to the width that there is.
//
// In:   width in pixels; rows {label, says, state, key, marks}, whose `state` stands where there is no figure;
//       a mark has value, low, high, `open` ("up" or "down": how far it goes on is not known), shape ("dot" or
//       "ring"), kind (its colour) and key of its evidence; `write` makes the words of the axis; `line` is a
//       value to draw across all rows.
// Out:  SVG.
const NARROW = 560;
const AXIS_HEIGHT = 28;
const LETTER = 7.3;

const isPositive = (value) => typeof value === "number" && value > 0;

// Powers of ten that hold all values.
const axisOf = (rows, line) => {
  const values = rows
    .flatMap((row) => row.marks.flatMap((mark) => [mark.value, mark.low, mark.high]))
    .concat(line ?? []);
  const positive = values.filter(isPositive);
  if (!positive.length) return null;
  const low = Math.floor(Math.log10(Math.min(...positive)) + 1e-9);
  const high = Math.ceil(Math.log10(Math.max(...positive)) - 1e-9);
  return { low, high: Math.max(high, low + 1) };
};

// Words in so many lines at most; what does not fit is cut, and stands in the row's title.
const linesOf = (words, most, count) => {
  if (words.length <= most) return [words];
  if (count === 1) return [`${words.slice(0, most - 1)}\u2026`];
  const space = words.lastIndexOf(" ", most);
  const cut = space > most / 2 ? space : most;
  return [words.slice(0, cut), ...linesOf(words.slice(cut).trim(), most, count - 1)];
};

// On a narrow place words stand above their marks: beside each other where that fits in every row.
const LEFT_SHARE = 0.42;
const RIGHT_SHARE = 0.36;
const LINE = 15;
const longestOf = (rows, words) => Math.max(0, ...rows.map((row) => String(words(row)).length));
const narrowLayout = (width, rows) => {
  const most = Math.floor(width / LETTER);
  const beside = longestOf(rows, (row) => `${row.label}  ${row.says}`) <= most;
  const lines = Math.max(1, ...rows.map((row) => linesOf(row.label, most, 3).length));
  const above = (beside ? lines : lines + 1) * LINE;
  return { narrow: true, left: 30, right: 24, most, lines, beside, above, gap: above + 31 };
};
const wideLayout = (width, rows) => {
  const longest = longestOf(rows, (row) => row.label);
  const says = longestOf(rows, (row) => row.says);
  const left = Math.min(Math.ceil(LETTER * longest) + 14, Math.round(width * LEFT_SHARE));
  const right = Math.min(Math.ceil(LETTER * says) + 20, Math.round(width * RIGHT_SHARE));
  const most = Math.floor((left - 14) / LETTER);
  return { narrow: false, left, right, most, lines: 2, gap: longest > most ? 35 : 26 };
};
const layoutOf = (width, rows) => (width < NARROW ? narrowLayout(width, rows) : wideLayout(width, rows));

const tickMarks = (axis, place, height, write, layout) => {
  const all = Array.from({ length: axis.high - axis.low + 1 }, (_, at) => axis.low + at);
  const widest = Math.max(...all.map((power) => write(10 ** power).length)) * LETTER + (layout.narrow ? 24 : 10);
  const apart = place(10 ** (axis.low + 1)) - place(10 ** axis.low);
  const step = Math.max(1, Math.ceil(widest / apart));
  // counted from the right end, which is the one that has a name on every scale
  const powers = all.filter((power) => (axis.high - power) % step === 0);
  return powers.map((power) => {
    const x = place(10 ** power).toFixed(1);
    const isFirst = place(10 ** power) < widest / 2;
    const anchor = isFirst ? "start" : layout.narrow && power === axis.high ? "end" : "middle";
    return h`<line class="tick" x1="${x}" x2="${x}" y1="${AXIS_HEIGHT - 6}" y2="${height}"/>
<text class="soft" data-digits="scale" x="${x}" y="13" text-anchor="${anchor}">${write(10 ** power)}</text>`;
  });
};

const arrow = (x, y, direction, kind) => {
  const back = direction === "up" ? -7 : 7;
  return h`<path class="mark-${kind} arrow" d="M${(x + back).toFixed(1)} ${y - 5}L${x.toFixed(1)}
${y}L${(x + back).toFixed(1)} ${y + 5}"/>`;
};

// A scale of powers of ten has no place for zero: it stands at the end, as a square that is not filled.
const zeroMark = (mark, x, y) =>
  h`<g data-evidence="${mark.key}"><title>${mark.words ?? ""}</title><rect class="mark-zero" x="${(x - 5).toFixed(1)}"
y="${y - 5}" width="10" height="10"/></g>`;

// A row whose figure could be known and is not has a dotted line, which no figure has.
const unknownLine = (row, y, from, to) =>
  row.state === "not measured"
    ? h`<line class="unknown" x1="${from}" x2="${to}" y1="${y}" y2="${y}"><title>not measured</title></line>`
    : "";

const markOf = (mark, y, place, from, to) => {
  const kind = mark.kind ?? "measured";
  const parts = [];
  if (mark.value === 0 && !mark.open) return zeroMark(mark, from, y);
  const low = mark.open === "down" ? from : isPositive(mark.low) ? place(mark.low) : from;
  const high = mark.open === "up" ? to : typeof mark.high === "number" ? place(mark.high) : null;
  if (mark.open || (typeof mark.low === "number" && high !== null)) {
    const start = mark.open === "up" ? place(isPositive(mark.low) ? mark.low : mark.value) : low;
    const end = mark.open === "down" ? place(mark.high ?? mark.value) : high;
    parts.push(
      h`<line class="mark-${kind} range${mark.open ? " open" : ""}" x1="${start.toFixed(1)}"
x2="${end.toFixed(1)}" y1="${y}" y2="${y}"/>`,
    );
    if (mark.open) parts.push(arrow(mark.open === "up" ? to : from, y, mark.open, kind));
  }
  if (isPositive(mark.value)) {
    const shape = mark.shape === "ring" ? "ring" : "dot";
    parts.push(h`<circle class="mark-${kind} ${shape}" cx="${place(mark.value).toFixed(1)}" cy="${y}" r="5.5"/>`);
  }
  return h`<g data-evidence="${mark.key}"><title>${mark.words ?? ""}</title>${parts}</g>`;
};

const labelOf = (row, x, y, anchor, layout) => {
  const lines = linesOf(row.label, layout.most, layout.lines);
  const up = layout.narrow ? 0 : (LINE / 2) * (lines.length - 1);
  const drawn = lines.map((line, at) => h`<tspan x="${x}" dy="${at ? LINE - 1 : -up}">${line}</tspan>`);
  return h`<text class="${lines.length > 1 ? "lines" : ""}" data-digits="words" x="${x}" y="${y}"
text-anchor="${anchor}"><title>${row.label}</title>${drawn}</text>`;
};

const rowOf = (row, at, { layout, place, width }) => {
  const top = AXIS_HEIGHT + at * layout.gap;
  const y = top + (layout.narrow ? layout.above + 11 : layout.gap / 2);
  const evidence = row.key ? h` data-evidence="${row.key}"` : h` data-digits="words"`;
  const kind = row.state ? `soft says-${stateClass(row.state)}` : "soft";
  const from = layout.left;
  const to = width - layout.right;
  const marks = [unknownLine(row, y, from, to), ...row.marks.map((mark) => markOf(mark, y, place, from, to))];
  const saysAt = (x, height, anchor) =>
    h`<text class="${kind}" x="${x}" y="${height}" text-anchor="${anchor}"${evidence}>${row.says}</text>`;
  if (!layout.narrow) {
    return h`${labelOf(row, from - 12, y + 5, "end", layout)}${marks}${saysAt(to + 12, y + 5, "start")}`;
  }
  const says = layout.beside ? saysAt(width, top + layout.above, "end") : saysAt(0, top + layout.above, "start");
  const lacking = layout.lines - linesOf(row.label, layout.most, layout.lines).length;
  return h`${labelOf(row, 0, top + LINE * (1 + lacking), "start", layout)}${says}${marks}`;
};

const logChart = ({ width, rows, write, label, line = null, axis = axisOf(rows, line) }) => {
  if (!axis) return h`<ul class="absent">${rows.map((row) => h`<li>${row.label}: ${row.says}</li>`)}</ul>`;
  const layout = layoutOf(width, rows);
  const height = AXIS_HEIGHT + rows.length * layout.gap + 6;
  const across = width - layout.left - layout.right;
  const place = (value) => {
    const part = (Math.log10(value) - axis.low) / (axis.high - axis.low);
    return layout.left + Math.max(0, Math.min(1, part)) * across;
  };
  const drawn = { layout, place, width };
  const cross = line
    ? h`<line class="cross" x1="${place(line).toFixed(1)}" x2="${place(line).toFixed(1)}"
y1="${AXIS_HEIGHT - 6}" y2="${height}"/>`
    : "";
  return h`<svg class="chart" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img"
aria-label="${label}">
${tickMarks(axis, place, height, write, layout)}${cross}${rows.map((row, at) => rowOf(row, at, drawn))}</svg>`;
};

// A chart that the browser draws again when its width is known.
const DEFAULT_WIDTH = 1080;
const widthOf = (c, id) => c.state.widths[id] ?? DEFAULT_WIDTH;
const measured = (c, id, draws) => h`<div id="${id}" class="live measured" data-measured="">${draws(c)}</div>`;
