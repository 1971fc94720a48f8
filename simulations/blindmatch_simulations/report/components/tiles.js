// What a party holds of a picture, drawn and in words.
//
// In:   what it holds (`Holds` of the view model), and small pictures of the tried one where there is one.
// Out:  a tile. What this file does not know is written out, never drawn as nothing.
const LOCK = "M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3";
const ENVELOPE = "M3 6h18v12H3zM3 7l9 7 9-7";
const SEAL = "M6 6h12v12H6zM9 6V3M15 6V3M9 21v-3M15 21v-3M6 9H3M6 15H3M21 9h-3M21 15h-3";
const KEY = "M8 8a4 4 0 1 0 .1 0M12 12h9M18 12v4";
const VOUCHER = "M5 4h14v16H5zM9 10h6v6H9zM8 7h8";
const CROSS = "M4 21 21 3";
const HILLS = "M2 19l7-9 5 6 3-4 5 7zM16 7a2 2 0 1 0 .1 0";

const HELD = {
  "the picture": { kind: "picture", short: "the picture", icon: HILLS, shot: "picture" },
  "the picture under a seal": { kind: "sealed", short: "the picture, sealed", icon: SEAL, shot: "picture" },
  "its hash, which draws a likeness": { kind: "likeness", short: "a likeness", cells: 4, shot: "likeness" },
  "numbers that draw a finer likeness": { kind: "likeness", short: "a finer likeness", cells: 8, shot: "finer" },
  "some bits of its hash": { kind: "bits", short: "some bits of its hash" },
  "the encrypted message": { kind: "lock", short: "the encrypted message", icon: LOCK },
  "a sealed voucher": { kind: "voucher", short: "a sealed voucher", icon: VOUCHER },
  "that you sent a picture": { kind: "envelope", short: "that you sent a picture", icon: ENVELOPE },
  "that somebody sent a picture": { kind: "envelope", short: "that somebody sent one", icon: ENVELOPE + CROSS },
  "nothing unless your account is opened": { kind: "key", short: "nothing without a warrant", icon: KEY },
  nothing: { kind: "none", short: "nothing" },
};
const holdsWords = (holds) => fieldOf(HELD, holds)?.short ?? holds;

const iconOf = (path) => h`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;

// Shades of a likeness where no picture was tried: fixed, and of no picture.
const SHADES = [5, 2, 7, 4, 1, 6, 3, 8, 2, 5, 8, 3, 6, 1, 4, 7];
const cellsOf = (count) => {
  const size = 24 / count;
  const places = Array.from({ length: count * count }, (_, at) => at);
  return h`<svg class="cells" viewBox="0 0 24 24" aria-hidden="true">${places.map((at) => {
    const shade = SHADES[(at * 7 + Math.floor(at / count) * 3) % SHADES.length];
    const across = (at % count) * size;
    const down = Math.floor(at / count) * size;
    return h`<rect x="${across}" y="${down}" width="${size}" height="${size}" opacity="${shade / 9}"/>`;
  })}</svg>`;
};
const BITS = "1011001110";
const bitsOf = () =>
  h`<svg class="cells" viewBox="0 0 24 24" aria-hidden="true">${[...BITS].map(
    (bit, at) =>
      h`<rect x="${1.5 + (at % 5) * 4.4}" y="${at < 5 ? 6 : 13}" width="3.2" height="5"
opacity="${bit === "1" ? 1 : 0.25}"/>`,
  )}</svg>`;

const insideOf = (known, shots) => {
  const shot = known.shot && shots ? shots[known.shot] : "";
  const picture = shot ? h`<img src="${shot}" alt=""/>` : "";
  if (known.kind === "bits") return bitsOf();
  if (known.kind === "sealed") return h`${picture}${iconOf(known.icon)}`;
  if (picture) return picture;
  if (known.cells) return cellsOf(known.cells);
  return known.icon ? iconOf(known.icon) : "";
};

// One tile, whose words are its name for people who do not see it.
const tile = (holds, shots, words = holdsWords(holds)) => {
  const known = fieldOf(HELD, holds);
  if (!known) return h`<span class="tile-words">${holds}</span>`;
  return h`<span class="tile tile-${known.kind}" role="img" aria-label="${words}"
title="${words}">${insideOf(known, shots)}</span>`;
};

// All kinds that stand on the page, each with its words.
const tileLegend = (kinds, shots) =>
  h`<ul class="legend tiles" aria-label="What the tiles mean">${kinds.map(
    (holds) => h`<li>${tile(holds, shots)} <span>${holdsWords(holds)}</span></li>`,
  )}</ul>`;

const holdsOf = (cards) => {
  const used = new Set(cards.flatMap((card) => card.tiles.map((one) => one.holds)));
  const ordered = Object.keys(HELD).filter((holds) => used.has(holds));
  return [...ordered, ...[...used].filter((holds) => !Object.hasOwn(HELD, holds))];
};

// Provider, others, centre: the columns of the table.
const tilesByPlace = (card) => ({
  provider: card.tiles.filter((one) => one.party === "provider"),
  others: card.tiles.filter((one) => one.party !== "provider" && one.party !== "centre"),
  centre: card.tiles.filter((one) => one.party === "centre"),
});
