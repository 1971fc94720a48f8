// What a design costs: each phone, its data, and the servers, on logarithmic axes.
//
// In:   `card.cost`, keys of evidence by what is spent.
// Out:  charts beside each other; on a phone one at a time, by tabs.
const COST_CHARTS = [
  {
    id: "cost-phone",
    tab: "Phone",
    words: "Computing on a phone for each picture",
    names: ["phone"],
    write: millisecondWords,
  },
  { id: "cost-data", tab: "Data", words: "Data for each picture", names: ["up", "down"], write: bytesWords },
  {
    id: "cost-setup",
    tab: "Set-up",
    words: "Data that a phone receives to set up",
    names: ["setup"],
    write: bytesWords,
  },
  {
    id: "cost-servers",
    tab: "Servers",
    words: "Processor cores of all servers in the busiest hour, EU",
    names: ["servers"],
    write: coreWords,
  },
];
const COST_MARKS = { down: { shape: "ring", kind: "measured" } };

const costSays = (found, write) => {
  if (!found) return "not measured";
  if (!hasValue(found)) return found.state;
  return `${found.at_least ? "over " : ""}${write(found.value)}`;
};

const costRow = (c, card, { names, write }) => {
  const pairs = names
    .map((name) => [name, fieldOf(card.cost, name)])
    .map(([name, key]) => ({ name, key, found: key && evidenceOf(c, key) }));
  const marks = pairs
    .filter(({ found }) => hasValue(found))
    .map(({ name, key, found }) => ({
      ...COST_MARKS[name],
      key,
      words: `${found.title}: ${costSays(found, write)}`,
      value: found.value,
      low: found.low,
      high: found.high,
      open: found.at_least ? "up" : "",
    }));
  // "over" stands once before both where both are at least so much
  const [first, ...rest] = [...new Set(pairs.map(({ found }) => costSays(found, write)))];
  const areBothMore = pairs.every(({ found }) => found?.at_least);
  const says = [first, ...rest.map((one) => (areBothMore ? one.replace("over ", "") : one))].join(" and ");
  const state =
    marks.length || pairs.some(({ found }) => hasValue(found)) ? "" : (pairs[0].found?.state ?? "not measured");
  return {
    label: card.title,
    key: pairs[0].key,
    says: state === "does not apply" ? `\u2013 ${says}` : says,
    state,
    marks,
  };
};

const costChart = (c, chart) => {
  const rows = c.view.designs.map((card) => costRow(c, card, chart));
  if (!rows.some((row) => row.marks.length))
    return h`<p class="absent">${stateMark("not measured")} No design of this run has this figure.</p>`;
  const label = `${chart.words}: ${rows.map((row) => `${row.label}: ${row.says}`).join("; ")}`;
  return logChart({ width: widthOf(c, chart.id), rows, write: chart.write, label });
};
const COST_LIVE = Object.fromEntries(COST_CHARTS.map((chart) => [chart.id, (c) => costChart(c, chart)]));

// The ends between which the designs lie, as the heading of a chart.
const costRange = (c, { names, write, words }) => {
  const keys = c.view.designs
    .flatMap((card) => names.map((name) => fieldOf(card.cost, name)))
    .filter((key) => key && hasValue(evidenceOf(c, key)));
  if (!keys.length) return h`${words}: not measured`;
  const ordered = keys.sort((one, other) => evidenceOf(c, one).value - evidenceOf(c, other).value);
  const least = ordered[0];
  const most = ordered[ordered.length - 1];
  if (least === most) return h`${words}: ${figure(c, least, write)}`;
  return h`${words}: from ${figure(c, least, write)} to ${figure(c, most, write)}`;
};

const costTabs = (c) =>
  h`<div class="tabs" role="tablist" aria-label="Costs">${COST_CHARTS.map(
    (chart, at) =>
      h`<button type="button" role="tab" id="tab-${at}" aria-controls="panel-${at}"
aria-selected="${at === c.state.tab}"
tabindex="${at === c.state.tab ? 0 : -1}" data-set="tab" data-value="${at}"
data-redraws="cost-tabs">${chart.tab}</button>`,
  )}</div>`;

const costPanel = (c, chart, at) =>
  h`<div class="panel" role="tabpanel" id="panel-${at}" aria-labelledby="panel-${at}-title"
data-tab="${at}"><h3 id="panel-${at}-title">${costRange(c, chart)}</h3>
${measured(c, chart.id, COST_LIVE[chart.id])}</div>`;

// The lengths of the lists that the run asked.
const listLengths = (c) => {
  const lengths = [...new Set(c.view.runs.flatMap((run) => run.entries))];
  if (!lengths.length) return "no list";
  return h`${lengths.length === 1 ? "a list" : "lists"} of ${joined(
    lengths.map((one) => named("run", withThousands(String(one)))),
    " and ",
  )} entries`;
};

// To two significant digits, never up.
const roundedDown = (value) => {
  const step = 10 ** (Math.floor(Math.log10(value)) - 1);
  return Math.floor(value / step) * step;
};

// Its title: how far apart the designs are in what they ask of a phone and of servers.
const costTitle = (c) => {
  const looking = c.view.designs.filter((card) => card.matches !== "nothing");
  const span = (name) => {
    const known = looking
      .map((card) => evidenceOf(c, fieldOf(card.cost, name)))
      .filter((one) => isPositive(one?.value));
    if (known.length < 2) return "";
    const [least, most] = [Math.min, Math.max].map((end) => end(...known.map((one) => one.value)));
    if (most / least < 2) return "by less than a factor of two";
    const isMore = known.some((one) => one.value === most && one.at_least);
    // more than a number that was rounded up would not be true
    const times = isMore ? roundedDown(most / least) : Number((most / least).toPrecision(2));
    return h`by a factor of ${isMore ? "more than" : "about"} ${named("count", plainNumber(times))}`;
  };
  const phone = span("phone");
  const servers = span("servers");
  if (!phone && !servers) return "What the designs cost was not measured in this run";
  const parts = [
    ...(phone ? [h`in a phone\u2019s computing ${phone}`] : []),
    ...(servers ? [h`in processor cores of servers ${servers}`] : []),
  ];
  return h`Designs that look for something differ ${joined(parts, ", and ")}; measured with ${listLengths(c)}`;
};

const costTable = (c) =>
  table(
    "What each design costs",
    ["Design", ...Object.values(COSTS).map(([words]) => words)],
    c.view.designs.map((card) => [card.title, ...Object.keys(COSTS).map((name) => costWords(c, card, name))]),
  );

const costSection = (c) =>
  frame(c, {
    id: "costs",
    title: costTitle(c),
    note: h`Each step of a scale is ten times more. A mark is what was measured, a band goes from the lowest to
the highest. An arrow
means that the figure grows with the list by an amount that nobody measured: it is at least what is shown. Of
data, a full mark is sent
and a ring is received. A square at the left end is zero; a dotted line is a cost that was
not measured. One computer stood for phones and servers; nothing was measured on a real phone.`,
    body: h`${live(c, "cost-tabs", costTabs)}<div
class="plots">${COST_CHARTS.map((chart, at) => costPanel(c, chart, at))}</div>`,
    table: costTable(c),
    source: h`the run\u2019s figures over ${listLengths(c)}; servers at the assumed volume of the EU${
      fieldOf(c.view.evidence, "inputs/volume")
        ? h`, ${figure(c, "inputs/volume", largeNumber)} pictures a day`
        : ""
    }. Ranges stand in the table.`,
  });
