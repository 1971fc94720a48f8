// Bars: one share, or all shares of a whole.
//
// In:   keys of evidence, or numbers.
// Out:  SVG whose lengths are in per cent, so that it fits whatever width there is.
const clamp = (value) => Math.max(0, Math.min(100, value));
const percentOf = (value, of) => clamp((100 * value) / of);
const pc = (value) => `${Number(value.toFixed(2))}%`;

// A bar with its interval as a thin line. `kind` is its colour.
const bar = (c, key, { of = 1, kind = "found", label = "" }) => {
  const found = evidenceOf(c, key);
  if (!hasValue(found)) return "";
  const length = percentOf(found.value, of);
  const ends =
    found.low === null || found.high === null ? "" : whisker(percentOf(found.low, of), percentOf(found.high, of));
  const words = label || found.title;
  return h`<svg class="bar" role="img" aria-label="${words}"
data-evidence="${key}"><title>${words}</title><rect class="ground" width="100%" height="100%" rx="2"/>
<rect class="fill-${kind}" width="${pc(length)}" height="100%" rx="2"/>${ends}</svg>`;
};
const whisker = (from, to) =>
  h`<line class="whisker" x1="${pc(from)}" x2="${pc(to)}" y1="50%" y2="50%"/>
<line class="whisker" x1="${pc(from)}" x2="${pc(from)}" y1="20%" y2="80%"/><line class="whisker" x1="${pc(to)}"
x2="${pc(to)}" y1="20%" y2="80%"/>`;

const LEAST_WRITTEN = 4;
// Parts of 100, one after another; each with its kind, words, value and how its number is marked.
const stackedBar = (parts, label) => {
  let from = 0;
  const drawn = parts.map(({ kind, value, words, marks }) => {
    const start = from;
    from += value;
    if (value <= 0) return "";
    const middle = pc(start + value / 2);
    const number =
      value < LEAST_WRITTEN
        ? ""
        : h`<text class="on-${kind}" x="${middle}" y="50%" dy="0.35em"
text-anchor="middle">${ofHundredWords(value)}</text>`;
    return h`<g${marks}><title>${words}</title><rect class="fill-${kind}" x="${pc(start)}" width="${pc(value)}"
height="100%"/>${number}</g>`;
  });
  return h`<svg class="stacked" role="img" aria-label="${label}">${drawn}</svg>`;
};

// A whole bar that has words in place of parts.
const wordsBar = (words) => h`<span class="words-bar">${words}</span>`;
