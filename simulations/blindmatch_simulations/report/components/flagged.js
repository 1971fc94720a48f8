// Flagged wrongly: rates on one scale, and what a rate would mean for a hundred matches.
//
// In:   `view.rates` with keys of evidence, the inputs of the year, and a rate that the reader moves.
// Out:  the section. Rates of another unit, and claims without a number, stand beside the scale.
// The scale goes one step further down than the lowest rate on it.
const leastPower = (c) => {
  const values = c.view.rates.filter((rate) => isPlaced(c, rate)).map((rate) => evidenceOf(c, rate.evidence).value);
  const positive = values.filter(isPositive);
  return positive.length
    ? Math.max(LEAST_RATE_POWER, Math.floor(Math.log10(Math.min(...positive)) + 1e-9) - 1)
    : -6;
};
const LEAST_RATE_POWER = -12;
const RATE_KINDS = {
  "break-even": { kind: "even", shape: "dot" },
  seen: { kind: "measured", shape: "dot" },
  excluded: { kind: "wrong", shape: "dot" },
  measured: { kind: "measured", shape: "dot" },
  claimed: { kind: "claimed", shape: "ring" },
};

// A rate of each picture; of accounts or pairs it has no place on this scale.
const isOfPictures = (rate) => /(^|\s)picture$/.test(rate.unit);
const isBound = (found) => hasValue(found) && found.high === found.value && found.low === null;
const isPlaced = (c, rate) => isOfPictures(rate) && hasValue(evidenceOf(c, rate.evidence));

const rateRow = (c, rate) => {
  const found = evidenceOf(c, rate.evidence);
  const known = fieldOf(RATE_KINDS, rate.kind) ?? RATE_KINDS.measured;
  const mark = {
    ...known,
    key: rate.evidence,
    words: found.title,
    value: found.value,
    low: found.low,
    high: found.high,
  };
  const row = { label: rateLabel(rate), key: rate.evidence };
  if (rate.kind === "excluded")
    return {
      ...row,
      says: `over ${rateWords(found.value)}`,
      marks: [{ ...mark, value: null, low: found.value, high: 1 }],
    };
  if (found.value === 0) {
    const says = `${rateWords(0)} of ${withThousands(String(found.n ?? 0))}, up to ${rateWords(found.high ?? 1)}`;
    return { ...row, says, marks: [{ ...mark, value: null, open: "down", high: found.high }] };
  }
  if (isBound(found))
    return { ...row, says: `under ${rateWords(found.value)}`, marks: [{ ...mark, low: null, open: "down" }] };
  const between =
    found.low === null || found.high === null ? "" : ` (${rateWords(found.low)} to ${rateWords(found.high)})`;
  return { ...row, says: rateWords(found.value) + between, marks: [mark] };
};
const rateLabel = (rate) => {
  if (rate.kind === "claimed") return `Claimed: ${rate.label}`;
  return rate.kind === "measured" ? `${rate.label}; list of ${rate.list}` : rate.label;
};

const flaggedChart = (c) => {
  const rows = c.view.rates.filter((rate) => isPlaced(c, rate)).map((rate) => rateRow(c, rate));
  if (!rows.length)
    return h`<p class="absent">${stateMark("not run")} This run has no rate of innocent pictures that match.</p>`;
  return logChart({
    width: widthOf(c, "flagged-chart"),
    rows,
    write: oneInWords,
    line: hasYear(c) ? chosenRate(c) : null,
    axis: { low: leastPower(c), high: 0 },
    label: `Rates of innocent pictures that match: ${rows.map((row) => `${row.label}: ${row.says}`).join("; ")}`,
  });
};

// ---- the rate that the reader chose: so many powers of ten below one
const hasYear = (c) => Boolean(c.view.year.base);
const chosenRate = (c) => 10 ** -c.state.rate;
const yearlyNumbers = (c) => {
  const base = c.view.year.base;
  const wrong = base.accounts * base.pictures * DAYS * chosenRate(c);
  const right = base.accounts * base.files * (1 - base.video);
  return { wrong, share: wrong / (wrong + right) };
};
const outOfHundred = (share) => {
  const rounded = Math.round(100 * share);
  if (rounded >= 100) return "more than 99";
  return rounded < 1 ? "fewer than 1" : String(rounded);
};

const rateSays = (c) => h`<output data-digits="chosen">${oneInWords(chosenRate(c))}</output>`;

const flaggedSays = (c) => {
  if (!hasYear(c)) return "";
  const { wrong, share } = yearlyNumbers(c);
  const excluded = evidenceOf(c, c.view.rates.find((rate) => rate.kind === "excluded")?.evidence);
  const known = hasValue(excluded) && chosenRate(c) > excluded.value;
  const where = known
    ? "This test excludes such a rate, for photographs like these."
    : "This test cannot tell whether the true rate is higher or lower than this.";
  return h`<p class="say">If ${named("chosen", oneInWords(chosenRate(c)))} innocent pictures
is flagged, about
<b data-digits="chosen">${outOfHundred(share)}</b> of 100 matches are of innocent pictures:
${named("chosen", largeNumber(wrong))} a
year in the EU.</p><p class="note">${where}</p>`;
};

const flaggedDots = (c) => {
  if (!hasYear(c)) return "";
  const count = Math.round(100 * yearlyNumbers(c).share);
  const dots = Array.from({ length: 100 }, (_, at) => h`<i class="${at < count ? "wrong" : ""}"></i>`);
  const words = `of a hundred matches, ${count} are of innocent pictures, which are squares`;
  return h`<div class="dots" role="img" aria-label="${words}">${dots}</div>
<ul class="legend"><li><i class="dot-sign"></i>a known picture</li><li><i class="dot-sign wrong"></i>an
innocent picture</li></ul>`;
};

// ---- its title: whether the test reaches the rate that decides, by every way in which it was counted
const flaggedTitle = (c) => {
  const known = c.view.rates.filter((rate) => hasValue(evidenceOf(c, rate.evidence)));
  const even = known.find((rate) => rate.kind === "break-even");
  const excluded = known.filter((rate) => rate.kind === "excluded");
  if (!even) return "How often innocent pictures are flagged";
  const evenWords = figure(c, even.evidence, oneInWords);
  if (!excluded.length)
    return h`Half of all matches are wrong if ${evenWords} pictures is flagged wrongly; how many are was not
measured`;
  const ends = excluded.map((rate, at) => h`${at ? " or above " : ""}${figure(c, rate.evidence, rateWords)}`);
  const dependence = excluded.length > 1 ? ", depending on how far sources of pictures differ" : "";
  const evenRate = evidenceOf(c, even.evidence).value;
  const reaches = excluded.every((rate) => evidenceOf(c, rate.evidence).value <= evenRate);
  return h`Half of all matches are wrong if ${evenWords} pictures is flagged wrongly; this test
excludes${reaches ? "" : " only"} rates above ${ends}${dependence}`;
};

const unplacedWords = (c, rate) => {
  const found = evidenceOf(c, rate.evidence);
  if (!hasValue(found)) return found?.why || "no number is stated";
  return `it is of each ${rate.unit.replace(/^each /, "")}, not of each picture`;
};
const unplacedRates = (c) => {
  const rest = c.view.rates.filter((rate) => !isPlaced(c, rate));
  if (!rest.length) return "";
  return h`<details class="behind"><summary>Claims that have no place on this scale</summary><ul>${rest.map(
    (rate) =>
      h`<li>${evidenceTitle(c, rate)} <span class="soft">${named("words", unplacedWords(c, rate))}.</span></li>`,
  )}</ul></details>`;
};
const evidenceTitle = (c, rate) =>
  opens(rate.evidence, "n state-claimed", evidenceOf(c, rate.evidence)?.title ?? rate.label);

const flaggedTable = (c) =>
  table(
    "Rates of innocent pictures that match",
    ["Rate", "Value", "From, to", "How it is known", "Of each", "Pictures compared", "List"],
    c.view.rates.map((rate) => [
      told(rate.label),
      figure(c, rate.evidence, rateWords),
      interval(c, rate.evidence, rateWords),
      stateMark(evidenceOf(c, rate.evidence)?.state),
      told(rate.unit.replace(/^each /, "")),
      told(rate.pictures),
      told(rate.list),
    ]),
  );

const FLAGGED_PARTS = ["flagged-chart", "flagged-says", "flagged-dots", "rate-says"];
const flaggedSlider = (c) =>
  hasYear(c)
    ? h`<div class="rate-slider">${slider({
        id: "rate",
        label: h`Suppose that so many innocent pictures are flagged: ${liveWithin(c, "rate-says", rateSays)}`,
        low: 0,
        high: -leastPower(c),
        step: 0.005,
        value: c.state.rate,
        redraws: FLAGGED_PARTS,
        reversed: true,
      })}</div>`
    : "";

const flaggedSection = (c) =>
  frame(c, {
    id: "flagged",
    title: flaggedTitle(c),
    note: h`Innocent pictures that match, as a share of all innocent pictures; each step of the scale is ten
times more. A full mark was
measured or calculated here, a ring is claimed by others. A longer list matches more, so that each rate is of
the list that stands
beside it.`,
    body: h`${measured(c, "flagged-chart", flaggedChart)}${flaggedSlider(c)}<div
class="two"><div>${announced(c, "flagged-says", flaggedSays)}</div>
<div>${live(c, "flagged-dots", flaggedDots)}</div></div>${unplacedRates(c)}`,
    table: flaggedTable(c),
    source: h`committed evidence, pictures of different sources compared; numbers of pictures and of known
files a year are assumed. Claims
name their source in their evidence.`,
  });
