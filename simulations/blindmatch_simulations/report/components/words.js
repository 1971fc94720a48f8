// Numbers and lists as people read them.
//
// In:   numbers, or evidence (a record of the view model).
// Out:  text without markup.
const THIN = "\u202f";
const NO_BREAK = "\u00a0";
const MINUS = "\u2212";

const withThousands = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, THIN);

// Three significant digits, thousands apart.
const plainNumber = (value) => {
  const rounded = Number(Number(value).toPrecision(3));
  const size = Math.abs(rounded);
  const text = size >= 1000 ? withThousands(String(Math.round(size))) : String(size);
  return rounded < 0 ? MINUS + text : text;
};

const LARGE = [
  [1e12, "million million"],
  [1e9, "billion"],
  [1e6, "million"],
];
const largeNumber = (exact) => {
  const value = Number(exact.toPrecision(3));
  const found = LARGE.find(([size]) => value >= size);
  if (!found) return plainNumber(value);
  const times = plainNumber(value / found[0]);
  return `${times === "1" ? "a" : times} ${found[1]}`;
};

const BYTES = [
  [1e12, "TB"],
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
];
const bytesWords = (value) => {
  const found = BYTES.find(([size]) => value >= size);
  return found ? `${plainNumber(value / found[0])}${NO_BREAK}${found[1]}` : `${plainNumber(value)}${NO_BREAK}bytes`;
};
const millisecondWords = (value) =>
  value >= 1000 ? `${plainNumber(value / 1000)}${NO_BREAK}s` : `${plainNumber(value)}${NO_BREAK}ms`;
const secondsWords = (value) => `${plainNumber(value)}${NO_BREAK}s`;
const coreWords = (value) => `${plainNumber(value)} ${value === 1 ? "core" : "cores"}`;
const percentWords = (share) => `${plainNumber(100 * share)}${NO_BREAK}%`;
const oneInWords = (rate) => (rate >= 1 ? "all" : `one in ${largeNumber(1 / rate)}`);

// A rate: in per cent where that is readable, otherwise as one in so many.
const rateWords = (rate) => {
  if (rate === 0) return "0";
  return rate >= 1e-4 ? percentWords(rate) : oneInWords(rate);
};

// Of 100: whole numbers, and "under 1" where rounding would make it nothing.
const ofHundredWords = (value) => {
  if (value === 0) return "0";
  if (value < 0.5) return "under 1";
  return String(Math.round(value));
};

const COUNTS = [
  "no",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
  "eleven",
  "twelve",
  "thirteen",
  "fourteen",
  "fifteen",
  "sixteen",
  "seventeen",
  "eighteen",
  "nineteen",
  "twenty",
  "twenty-one",
  "twenty-two",
  "twenty-three",
  "twenty-four",
  "twenty-five",
  "twenty-six",
  "twenty-seven",
  "twenty-eight",
  "twenty-nine",
  "thirty",
];
// How many things stand on the page: a reader can count them.
const countWords = (count) => COUNTS[count] ?? String(count);
const counted = (count) => named("count", countWords(count));

const capital = (words) => String(words).charAt(0).toUpperCase() + String(words).slice(1);

// "a, b and c"
const listWords = (items) => {
  if (items.length < 2) return items.join("");
  return `${items.slice(0, -1).join(", ")} and ${items[items.length - 1]}`;
};

// Terms stand in brackets in texts of the suite: [[perceptual hash]]
const withoutBrackets = (words) => String(words).replace(/\[\[([^\]]*)\]\]/g, "$1");

const PARTIES = {
  provider: "messenger provider",
  matcher: "matching server",
  centre: "reporting centre",
  third_party: "third party",
  party_a: "first matching server",
  party_b: "second matching server",
};
const partyWords = (party) => fieldOf(PARTIES, party) ?? String(party).replace(/_/g, " ");
const withParties = (words) =>
  String(words).replace(/\b(third_party|party_a|party_b|matcher|centre)\b/g, (party) => partyWords(party));
