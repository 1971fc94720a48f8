// The first screen as one SVG file, for pages that show a picture of it.
const PICTURE = {width: 1220, line: 13, style: ""};
const ACROSS = [
  [8, 44],
  [262, 0],
  [536, 18],
  [658, 18],
  [780, 20],
  [908, 50],
];
const PICTURE_STYLE =
  "text{font:11px system-ui,sans-serif;fill:#1b1b1b}.b{font-weight:700}.h{font:700 18px system-ui,sans-serif}.g{stroke:#9a9a9a}" +
  ".box{fill:none;stroke:#9a9a9a}.after{stroke-dasharray:5 3}.party{font-size:9.4px}.s-observed rect{fill:#0b4a8f}.s-observed text{fill:#fff;font:700 9.5px system-ui,sans-serif}" +
  ".s-declared rect{fill:#e3e6e9;stroke:#4d4d4d;stroke-dasharray:2 1.5}.s-declared text{font-size:9.5px}.s-unchecked rect{fill:#e3e6e9;stroke:#4d4d4d}.s-unchecked text{font-size:9.5px;font-style:italic}.s-sealed rect{fill:none;stroke:#1b1b1b}" +
  ".s-sealed text{font-size:9.5px}.ground{fill:#fff}@media(prefers-color-scheme:dark){.ground{fill:#15181b}text{fill:#ececec}" +
  ".s-observed rect{fill:#9cc4f5}.s-observed text{fill:#15181b}.s-declared rect{fill:#343a40}.s-sealed rect{stroke:#ececec}}";
const wrapped = (words, most) =>
  words.split("\n").flatMap((line) =>
    line.split(" ").reduce(
      (lines, word) => {
        const last = lines[lines.length - 1];
        if (last && last.length + word.length + 1 > most) return [...lines, word];
        return [...lines.slice(0, -1), last ? `${last} ${word}` : word];
      },
      [""],
    ),
  );
const texts = (x, y, lines, kind = "") =>
  lines.map((one, at) => h`<text class="${kind}" x="${x}" y="${y + PICTURE.line * (at + 1)}">${one}</text>`);
const isDrawn = (cell) => String(cell).startsWith("<svg");
const pictureRow = (cells, y, kind = "") => {
  const columns = cells.map((cell, at) => (isDrawn(cell) ? null : wrapped(wordsOf(cell), ACROSS[at][1] || 30)));
  const height = Math.max(34, ...columns.map((one) => (one ? PICTURE.line * one.length + 8 : 0)));
  const drawn = cells.map((cell, at) =>
    columns[at] ? texts(ACROSS[at][0], y, columns[at], kind) : h`<g transform="translate(${ACROSS[at][0]} ${y + 2})">${cell}</g>`,
  );
  return {height, svg: h`<line class="g" x1="0" x2="${PICTURE.width}" y1="${y}" y2="${y}"/>${drawn}`};
};
const pictured = (data, state) => {
  draw(data, state);
  now.flat = true; // a number is its words alone: no links
  const rows = [HEAD(), ...now.sources.options.flatMap(optionRows)];
  now.flat = false;
  let y = 52;
  const drawn = rows.map((cells, at) => {
    const row = pictureRow(cells, y, at ? "" : "b");
    y += row.height;
    return row.svg;
  });
  const key =
    "P picture, H hash, A account, O outcome. Filled: observed in this run; grey: declared, not seen; grey with a full edge: declared, not checked; outlined: goes there sealed. Dashed box: reported pictures, opened vouchers or opened accounts alone.";
  const title = wordsOf(headline());
  return String(
    h`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${PICTURE.width} ${y}" role="img" aria-label="${title}"><title>${title}</title><style>${PICTURE_STYLE}</style><rect class="ground" width="${PICTURE.width}" height="${y}"/><text class="h" x="8" y="24">${title}</text>${texts(8, 28, [key])}${drawn}</svg>\n`,
  );
};
