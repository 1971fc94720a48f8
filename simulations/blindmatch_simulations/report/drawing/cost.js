// What it costs, at the lengths of lists outside.
const LISTS = ["iwf_list_2024", "ncmec_list"];
const sizeOf = (ident) => {
  const one = now.sources.volumes[ident];
  return one.value ?? Math.max(...Object.values(one.values));
};
const COSTS = [
  "phone_cpu_ms",
  "device_cpu_ms",
  "send_ms",
  "device_peak_mib",
  "query_up_bytes",
  "query_down_bytes",
  "report_bytes",
  "setup_bytes",
  "matcher_cpu_ms",
  "server_cpu_ms",
  "server_u",
  "server_growth_u",
  "server_more_u",
  "device_growth_u",
  "query_growth_bytes",
  "setup_growth_bytes",
  "build_s",
  "build_cpu_s",
  "update_s",
  "update_bytes",
];
const traffic = (rows) =>
  table(
    "Bytes between the measured device and each party, whole run",
    ["design", "party", "purpose", "bytes up", "bytes down"],
    rows.flatMap((row) =>
      row.traffic.map((one, at) => [
        code(row),
        partyName(one.party),
        one.purpose,
        ...["up_bytes", "down_bytes"].map((way) =>
          opens(place(row.id, "traffic", String(at), way), number(one[way]), () =>
            evidence(h`${code(row)}: traffic`, [["row in results.json", json(one)]]),
          ),
        ),
      ]),
    ),
  );
// whose device does steps that nothing of this page charges, since the provider matches
const uncharged = (rows) => {
  const found = rows.filter((row) => valueOf(row, "phone_cpu_ms") === 0 && valueOf(row, "device_cpu_ms") > 0);
  return found.length ? h`In ${named(found)} the provider matches what it reads, so the device is charged nothing: \u201cprotocol alone\u201d shows steps that are the provider\u2019s there.` : "";
};
// what of a set-up this run's device did not fetch: a model comes with the client
const notFetched = (rows) => {
  const parts = rows.flatMap((row) => {
    const [, model] = /^a model of ([\d,]+) bytes/.exec(figureOf(row, "setup_bytes").why) || [];
    return model ? [h`${code(row)}, ${number(Number(model.replace(/,/g, "")))} bytes`] : [];
  });
  return parts.length ? para(h`Not in this table, but in the set-up above, since this run\u2019s device did not fetch it: the model of ${glue(parts, "; ")}.`) : "";
};
// the most that a single party beyond both ends gets of an innocent picture, by declaration
const MOST_SEEN = [
  ["picture", "#d55e00", "M-6-6h12v12h-12z"],
  ["sealed picture", "#cc79a7", "M0-8 8 0 0 8-8 0z"],
  ["hash", "#e69f00", "M0-8 8 6H-8z"],
  ["none of these", "#0072b2", "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z"],
];
const mostSeen = (row) => {
  const leaks = row.design.declared.filter(({adversary, parties: [party, more]}) => adversary === "semi-honest" && !more && !["device", "centre"].includes(party));
  const shown_ = leaks.flatMap((leak) => leak.facts.flatMap((fact) => fact.shows));
  return [shown_.includes("picture"), row.design.content === "sealed", shown_.includes("hash"), true].indexOf(true);
};
const AREA = {width: 640, height: 260, left: 48, right: 620, top: 20, bottom: 222};
const scatterPart = (rows) => {
  const ends_ = ({value, low, high}) => [value, low ?? value, high ?? value];
  const dear = (row) => ["server_cpu_ms", "matcher_cpu_ms"].find((name) => valueOf(row, name) === cpuOf(row));
  const known = rows.filter((row) => cpuOf(row) > 0 && bestOf(row, "recall_pairs").value !== null);
  if (!known.length) return "";
  const points = known.map((row) => ({row, cost: ends_(figureOf(row, dear(row))), found: ends_(bestOf(row, "recall_pairs"))})).sort((a, b) => a.cost[0] - b.cost[0]);
  const least = Math.floor(Math.log10(Math.min(...points.map((one) => one.cost[1])))),
    most = Math.ceil(Math.log10(Math.max(...points.map((one) => one.cost[2])))) || 1;
  const x = (ms) => Math.round(AREA.left + ((Math.log10(ms) - least) / (most - least || 1)) * (AREA.right - AREA.left)),
    y = (share) => Math.round(AREA.bottom - share * (AREA.bottom - AREA.top));
  const axis = [...Array(most - least + 1).keys()].map((at) => h`<text x="${x(10 ** (least + at))}" y="${AREA.bottom + 16}" text-anchor="middle">${number(10 ** (least + at))}</text>`);
  const heights = [0, 0.5, 1].map((one) => h`<line class="grid" x1="${AREA.left}" x2="${AREA.right}" y1="${y(one)}" y2="${y(one)}"/><text x="${AREA.left - 6}" y="${y(one) + 4}" text-anchor="end">${percent(one)}</text>`);
  const drawn = points.map(({row, cost, found}, at) => {
    const [px, py] = [x(cost[0]), y(found[0])], [, colour, shape] = MOST_SEEN[mostSeen(row)];
    const close = points.slice(0, at).filter((one) => px - x(one.cost[0]) < 14 && Math.abs(py - y(one.found[0])) < 14).length;
    return h`<path class="grid" d="M${x(cost[1])} ${py}H${x(cost[2])}M${px} ${y(found[1])}V${y(found[2])}"/><path d="${shape}" fill="${colour}" transform="translate(${px} ${py})"/><text class="letter" x="${px}" y="${py + 20 + 13 * close}" text-anchor="middle">${at + 1}</text>`;
  });
  const key = glue(MOST_SEEN.map(([name, colour, shape]) => h`<svg class="key" viewBox="-9 -9 18 18" width="14" height="14" aria-hidden="true"><path d="${shape}" fill="${colour}"/></svg> ${name}`), "; ");
  const lines = points.map(({row}, at) => [h`<b>${at + 1}.</b> ${code(row)}`, MOST_SEEN[mostSeen(row)][0], figFull(row, best(row, "recall_pairs")), fig(row, dear(row))]);
  const without = rows.filter((row) => !known.includes(row));
  return fold("scatter", "Found against cost, by who sees what", [
    para(h`Up: found, of copies within 31 bits; to the right: CPU of the servers, ms a picture, at this run\u2019s list, the larger of answers alone and of deployed servers. Shape and colour, the most that a party beyond both ends gets of an innocent picture: ${key}.`),
    h`<svg class="scatter" viewBox="0 0 ${AREA.width} ${AREA.height}" role="img" aria-label="Found against cost; the table below has the same">${heights}${axis}${drawn}</svg>`,
    table("Found against cost", ["design", "most seen", "found", "CPU of the servers"], lines, "short"),
    para(h`${without.length ? h`Not in it, since no server\u2019s work on them was measured, or they find no listed pictures: ${named(without)}. ` : ""}Higher or further left is not better: abuse, devices\u2019 costs and longer lists are not in it.`),
  ]);
};
// one picture to several people, as servers counted; and the day's cores in its busiest hour, by assumptions
const loadPart = (rows, n) => {
  const {peak, retries} = now.sources.year.load,
    times = peak.value * (1 + retries.value),
    every = inOrder();
  const group = (row, name) => {
    const one = row[name];
    return one
      ? opens(place(row.id, name), h`${glue([one.asked, one.uploads, one.reports, one.named].map(number), ", ")}`, () =>
          evidence(h`${code(row)}: one listed picture to ${number(one.people)} people`, [["row in results.json", json(one)]]),
        )
      : absent("");
  };
  const busiest = (row) => {
    const found = rows.includes(row) && !asksNobody(row) && cores(row, n);
    const assumed = ({value, source, provenance}) => h`${number(value)}: ${source} ${mark(provenance)}`;
    return found
      ? opens(place(row.id, "busiest"), withLife(row, between(found[0] * times, found[1] * times)), () =>
          evidence(h`${code(row)}: the busiest hour`, [
            ["cores over the day", between(found[0], found[1])],
            ["busiest hour over the mean", assumed(peak)],
            ["queries asked again over pictures", assumed(retries)],
          ]),
        )
      : absent(vouches(row) ? "" : NOTHING);
  };
  const again = (row) =>
    !asksNobody(row) && ASKED.every((name) => valueOf(row, name) !== null)
      ? opens(place(row.id, "again"), bytes(ASKED.reduce((sum, name) => sum + valueOf(row, name), 0)), () =>
          evidence(h`${code(row)}: one query again`, ASKED.map((name) => [kindOf(name).title, fig(row, name)])),
        )
      : absent(NOTHING);
  return fold("load", "Groups, retries, busiest hour", [
    para(h`Of one listed picture to several people: queries, uploads, reports without vouchers, and people whom these name, as servers and the centre counted. Of the 30, 25 only have keys at the relay. Busiest hour: cores over the longest list measured, with ${percent(retries.value)} of queries asked again, times ${number(peak.value)}; both are assumptions.`),
    table(
      "One picture to a group; load",
      ["design", "to 5", "to 30", "one query again", "busiest hour: cores"],
      every.map((row) => [code(row), group(row, "to_group"), group(row, "to_large_group"), again(row), busiest(row)]),
    ),
  ]);
};
// ---- measured on this device (device.js): what it is told of this run, by `browser.js`
const figureSaid = (row, figure) => {
  const range = spread(figure, kindOf("device_cpu_ms").unit);
  return `${wordsOf(shown("device_cpu_ms", figure, row))}${range && ` (${range})`}`;
};
const deviceRows = () =>
  now.requests.map((request) => {
    const row = designs().find((one) => one.design.name === request.design);
    const same = row && Object.entries(request.parameters).every(([name, value]) => row.design.parameters[name] === value);
    const figure = row && figureOf(row, "device_cpu_ms");
    const none = row ? "not measured under these parameters in this run" : "not in this run";
    return {
      request,
      name: row ? wordsOf(code(row)) : request.design,
      ours: same && figure.value !== null ? {text: figureSaid(row, figure), href: `#${place(row.id, "device_cpu_ms")}`} : {text: none},
    };
  });
const deviceWords = () => {
  const {processor, python, group_backend: backend} = now.run.machine;
  return `Our figure: mean CPU time of this program (${python}${backend ? `; group: ${backend}` : ""}) on one core of ${processor}; in brackets the lowest and the highest of the pictures. It includes the lookup in the list. JavaScript, this device: the median time by the clock; in brackets the lowest and the highest.`;
};
const devicePart = () =>
  fold("device", "Measure on this device", [
    para("The button runs, in your own browser, the device\u2019s steps for one picture in two designs: it hides the picture\u2019s hash, or pieces of it, from the server (blinding), checks the proof in the server\u2019s reply, and takes the hiding off again. The picture and the reply are made up and stand in this file. Nothing is sent anywhere, and every result is compared with the one that our own program computed."),
    para("Our own figures are of a computer, not of a phone. The button measures the device that you hold, in JavaScript. An app would use native code, which is faster. What the button leaves out: decoding the picture, computing its hash, looking the result up in the list, and the network."),
    h`<div id="on-this-device"></div>`,
  ]);
const costPart = () => {
  const rows = inOrder().filter((row) => row.design.relation !== "nothing");
  const head = ["design", "server cores, over the longest list measured", ...LISTS.map((ident) => h`bytes at ${number(sizeOf(ident))}: ${now.sources.volumes[ident].source}`)];
  const longest = LISTS[0],
    at = rows.map((row) => ({row, cores: cores(row, sizeOf(longest)), all: moved(row, sizeOf(longest))}));
  const dearest = at.filter((one) => one.cores).sort((a, b) => b.cores[1] - a.cores[1])[0],
    widest = at.filter((one) => one.all).sort((a, b) => b.all[1] - a.all[1])[0];
  const reached = (row) => Math.min(longestOf(row, "server_growth_u"), sizeOf(longest)),
    lines = rows.map((row) => [
      code(row),
      coresAt(row, reached(row), place(row.id, "cores")),
      ...LISTS.map(sizeOf).map((n) => movedAt(row, n, place(row.id, "cost", String(n)))),
    ]);
  return section(
    "cost",
    "What does it cost?",
    para(
      h`${dearest ? h`${declaresGrowth(dearest.row) ? "At least" : "Up to"} ${number(dearest.cores[1])} server cores (${withLife(dearest.row, h`${short(dearest.row)}, ${number(reached(dearest.row))} entries${unresolved(dearest.row, "server_growth_u") ? `, ${growthSaid(dearest.row)}` : ""}; ${BEYOND}`)})` : absent("")}${widest ? h`; against ${number(sizeOf(longest))} entries, ${now.sources.volumes[longest].source}, up to ${bytesBetween([widest.all[1], widest.all[1]])} a day to and from devices (${withLife(widest.row, short(widest.row))}; 1 PB: a million GB)` : ""}, for ${opens(
        "scale",
        h`${number(given("volume"))} photos a day`,
        () =>
          evidence(
            "The chosen scale",
            now.sources.inputs.map((one) => [
              one.label,
              h`${number(given(one.ident))}; default ${number(one.value)}: ${one.source} ${mark(one.provenance)}`,
            ]),
          ),
      )}. No peaks, no spare, no staff.`,
    ),
    fold("cost-lists", "Each design at the lengths of real lists", [
      para(h`Server cores at full load all day, over the longest list that was measured: ${BEYOND} it. No growth resolved: the slope between the two lengths cannot be told from 0, and none is added. What all devices fetch and send a day for matching: set-ups, updates, queries and replies; no reports, no messages; of set-ups the line through two lengths, which is exact at both; of other bytes from no growth to growth in proportion; new keys before a year is over are not in it. ${usedUpSaid()}`),
      table("Cost by length of the list", head, lines),
      para(h`Sources of list lengths: ${glue(LISTS.map(outsideLink), "; ")}.`),
    ]),
    devicePart(),
    loadPart(rows, sizeOf(longest)),
    scatterPart(rows),
    fold("cost-tables", "Every cost that was measured, and bytes by party", [
      table(
        "Cost by design",
        ["cost", ...rows.map(code)],
        COSTS.map((name) => [kindOf(name).title, ...rows.map((row) => figFull(row, name))]),
      ),
      para(h`Server CPU: of the answers alone, in one process. Deployed: of the servers\u2019 processes while this run sent its pictures. Each was timed by itself, so either can be the larger, and every other part of this page takes the larger. ${uncharged(rows)}`),
      traffic(rows),
      notFetched(rows),
    ]),
  );
};
