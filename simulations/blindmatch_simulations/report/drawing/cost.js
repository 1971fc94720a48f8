// What it costs, at the lengths of lists outside.
const LISTS = ["iwf_list_2024", "ncmec_list"];
const sizeOf = (ident) => {
  const one = now.sources.volumes[ident];
  return one.value ?? Math.max(...Object.values(one.values));
};
const COSTS = [
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
  "harness_cpu",
];
const traffic = (rows) =>
  table(
    "Bytes between the measured device and each party, whole run",
    ["design", "party", "purpose", "bytes up", "bytes down"],
    rows.flatMap((row) =>
      row.traffic.map((one, at) => [
        code(row),
        one.party,
        one.purpose,
        ...["up_bytes", "down_bytes"].map((way) =>
          opens(place(row.id, "traffic", String(at), way), number(one[way]), () =>
            evidence(h`${row.id}: traffic`, [["row in results.json", json(one)]]),
          ),
        ),
      ]),
    ),
  );
const costPart = () => {
  const rows = inOrder().filter((row) => row.design.relation !== "nothing");
  const head = ["design", ...LISTS.map((ident) => h`${now.sources.volumes[ident].source}: ${number(sizeOf(ident))}`)];
  const longest = LISTS[0],
    at = rows.map((row) => ({row, cores: cores(row, sizeOf(longest)), all: moved(row, sizeOf(longest))}));
  const dearest = at.filter((one) => one.cores).sort((a, b) => b.cores[1] - a.cores[1])[0],
    widest = at.filter((one) => one.all).sort((a, b) => b.all[1] - a.all[1])[0];
  const lines = rows.map((row) => [code(row), ...LISTS.map(sizeOf).map((n) => costAt(row, n, place(row.id, "cost", String(n))))]);
  return section(
    "cost",
    "What does it cost?",
    para(
      h`Against ${number(sizeOf(longest))} entries, ${now.sources.volumes[longest].source}: ${dearest ? h`up to ${number(dearest.cores[1])} server cores (${short(dearest.row)})` : absent("")}${widest ? h`, up to ${bytesBetween([widest.all[1], widest.all[1]])} a day to and from devices (${short(widest.row)})` : ""}, for ${opens(
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
      para("Server cores at full load all day, and what all devices fetch and send a day for matching: set-ups, updates, queries and replies; no reports, no messages. A longer list is a line through the run\u2019s two lengths, with its band; of one length alone, from no growth to growth in proportion."),
      table("Cost by length of the list", head, lines),
      para(h`Sources of list lengths: ${glue(LISTS.map(outsideLink), "; ")}.`),
    ]),
    fold("cost-tables", "Every cost that was measured, and bytes by party", [
      table(
        "Cost by design",
        ["cost", ...rows.map(code)],
        COSTS.map((name) => [kindOf(name).title, ...rows.map((row) => figFull(row, name))]),
      ),
      traffic(rows),
    ]),
  );
};
