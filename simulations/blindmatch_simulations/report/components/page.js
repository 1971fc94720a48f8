// The whole page.
//
// In:   the view model, what was tried (or null), and what the reader chose.
// Out:  markup of the content and of the navigation; `LIVE` has each part that is drawn again by its id.
const LIVE = {
  "try-edits": editChoice,
  "try-stage": tryStage,
  "tiles-note": tilesNote,
  "designs-table": designsTable,
  "compare-body": compareBody,
  "hundred-heading": hundredTitle,
  "hundred-bars": hundredBars,
  "hundred-table": hundredTable,
  "video-says": videoSays,
  "modified-says": modifiedSays,
  "flagged-chart": flaggedChart,
  "flagged-says": flaggedSays,
  "flagged-dots": flaggedDots,
  "rate-says": rateSays,
  "cost-tabs": costTabs,
  "openings-chart": openingsChart,
  ...COST_LIVE,
};

const SECTIONS = [
  ["findings", "Findings", findingsSection],
  ["designs", "All designs", glanceSection],
  ["compare", "", compareSection],
  ["hundred", "Found", hundredSection],
  ["edits", "", editsSection],
  ["flagged", "Flagged wrongly", flaggedSection],
  ["costs", "Cost", costSection],
  ["abuse", "Abuse", abuseSection],
  ["openings", "", openingsSection],
  ["reported", "If reported", reportedSection],
  ["unmeasured", "Not measured", unmeasuredSection],
  ["law", "Law", optionsSection],
  ["terms", "Words", termsSection],
];

const FIRST_EDIT = "jpeg-75";
const BREAK_EVEN_RATE = 5;
const startingState = (view, tried) => {
  const base = view.year.base;
  const even = view.rates.find((rate) => rate.kind === "break-even");
  const rate = fieldOf(view.evidence, even?.evidence)?.value;
  const cards = view.designs.filter((card) => Object.keys(card.fates).length);
  return {
    picture: 0,
    edit: Math.max(0, tried ? tried.edits.indexOf(FIRST_EDIT) : 0),
    listed: 0,
    open: "",
    first: (cards[0] ?? view.designs[0])?.id ?? "",
    second: (cards[cards.length - 1] ?? view.designs[0])?.id ?? "",
    video: base ? Math.round(100 * base.video) : 0,
    modified: base ? Math.round(100 * base.modified) : 0,
    rate: rate ? Number((-Math.log10(rate)).toFixed(3)) : BREAK_EVEN_RATE,
    tab: 0,
    widths: {},
  };
};

const contextOf = (view, tried, state = startingState(view, tried)) => ({
  view,
  tried,
  state,
  year: view.year.model ? yearCalculator(view.year) : () => ({}),
});

const drawnMain = (c) => h`${SECTIONS.map(([, , section]) => section(c))}`;
const drawnNav = (c) =>
  h`<ul>${SECTIONS.filter(([id, words]) => words && (id !== "compare" || c.view.designs.length > 1)).map(
    ([id, words]) => h`<li><a href="#${id}" data-place="${id}">${words}</a></li>`,
  )}</ul>`;
const drawnFoot = (c) =>
  h`${runInFull(c)}<p>The same figures stand in results.json. This file needs no network, and sends nothing.</p>`;
