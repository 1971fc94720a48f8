// What a run's figures come to at a chosen scale: volume, length of the list, devices. It multiplies; it models no people.
const DAY_MS = 86400000,
  DAYS = 365,
  CONSTANT = 1000;
const WHOLE = "a whole set";
const given = (name) => now.given[name];
// known files of a year as a share of all pictures
const prevalence = () => (given("volume") > 0 ? Math.min(1, given("files") / (DAYS * given("volume"))) : 0);
const entries = (row) => Number(row.parameters.entries);
const target = (row) => given("list") || entries(row);
const cpuOf = (row) => Math.max(valueOf(row, "server_cpu_ms") ?? -1, valueOf(row, "matcher_cpu_ms") ?? -1);
const asksNobody = (row) => Object.keys(row.design.roles).length === 0;
// the centre gets a voucher of every picture
const vouches = (row) => row.design.learns.includes("centre");
// of files of before vouchers were counted among what is sent for a picture
const voucherBytes = (row) => {
  if (!vouches(row)) return 0;
  const apart = valueOf(row, "report_bytes");
  return apart ?? (valueOf(row, "query_up_bytes") ? 0 : NaN);
};
// what a picture takes the device: with decoding and hashing, where the file has that
const phoneOf = (row) => (valueOf(row, "phone_cpu_ms") === null ? "device_cpu_ms" : "phone_cpu_ms");

// CPU was measured over two lengths of list, and how it goes on beyond the longer one is not known
const BEYOND = "not known beyond";
const longestOf = (row, name) => {
  const [, ...lengths] = /line through ([\d,]+) and ([\d,]+) entries/.exec(figureOf(row, name).why) || [];
  return Math.max(entries(row), ...lengths.map((one) => Number(one.replace(/,/g, ""))));
};
const atMost = (row, name, n, of, grows) => {
  const longest = longestOf(row, name),
    [least, most, why] = along(row, Math.min(n, longest), of, grows || [0, 0, ""]),
    how = unresolved(row, name) ? "; no growth is added, since the measured one cannot be told from 0" : "";
  return [least, most, n > longest ? `over ${number(longest)} entries, the longest list measured; ${BEYOND}${how}` : why];
};
// milliseconds of servers' CPU a picture at a list of `n`, or the longest measured: [least, most, why]
const cpuAt = (row, n) => {
  if (vouches(row)) return null;
  if (asksNobody(row)) return [0, 0, "the design asks no server"];
  return cpuOf(row) < 0 ? null : atMost(row, "server_growth_u", n, cpuOf, cpuGrowthOf(row, "server_growth_u", msOfU(row)));
};
const msOfU = (row) => valueOf(row, "matcher_cpu_ms") / valueOf(row, "server_u");
// milliseconds of the device's CPU a picture at a list of `n`, or the longest measured: [least, most, why]; nothing
// where no slope was measured
const deviceAt = (row, n) => {
  if (!row.design.end_to_end) return [0, 0, "the provider matches what it reads"];
  const ms = longestU(row),
    grows = cpuGrowthOf(row, "device_growth_u", ms);
  return grows && ms ? atMost(row, "device_growth_u", n, (one) => valueOf(one, phoneOf(one)), grows) : null;
};
// what a u takes in the row, or, if no server answers there, at most in the run; 0 if that was not measured
const longestU = (row) => Math.max(0, ...[msOfU(row), ...(Number.isFinite(msOfU(row)) ? [] : designs().map(msOfU))].filter(Number.isFinite));
// whether chance alone may have made a slope
const unresolved = (row, name) => {
  const one = figureOf(row, name);
  return one.value !== null && (one.low ?? one.value) <= 0;
};
// what an entry more adds, by the line through this run's two lengths: [least, most, why]; nothing takes less over a longer list
const growthOf = (row, name, scale = 1) => {
  const one = figureOf(row, name);
  return one.value === null ? null : [...[one.low, one.high].map((end) => (Math.max(0, end ?? one.value) * scale) / 1000), one.why];
};
// the same of CPU; nothing where chance alone may have made the slope, since noise times thousands of entries is noise
const cpuGrowthOf = (row, name, scale) => {
  const found = growthOf(row, name, scale);
  return found && unresolved(row, name) ? [0, 0, `no growth is added, since the measured one cannot be told from 0: ${found[2]}`] : found;
};
// a figure at a list of `n`, from what an entry more adds: [least, most, why]
const along = (row, n, of, grows) => {
  const here = entries(row),
    found = of(row);
  if (n === here) return [found, found, "measured at this length"];
  if (grows) {
    const [one, other] = [0, 1].map((end) => Math.max(0, found + grows[end] * (n - here)));
    return [Math.min(one, other), Math.max(one, other), grows[2]];
  }
  const most = (found * n) / here;
  return [
    Math.min(found, most),
    Math.max(found, most),
    "at one end it does not grow with the list, at the other all of it does: one run has one length",
  ];
};
const cores = (row, n) => {
  const found = cpuAt(row, n);
  return found && [(found[0] * given("volume")) / DAY_MS, (found[1] * given("volume")) / DAY_MS, found[2]];
};
// a limit on all accounts together is used up by volume; without it the list is open to so many phones
const UNITS = [[DAYS * 86400, "years"], [86400, "days"], [3600, "hours"], [60, "minutes"]];
const lasting = (seconds) => {
  const [size, name] = UNITS.find(([one]) => seconds >= 2 * one) || [1, "seconds"];
  return `${number(Number((seconds / size).toPrecision(2)))} ${name}`;
};
const keyLife = (row, volume) => (row.key?.in_all && volume > 0 ? (86400 * row.key.in_all) / (row.key.cost * volume) : null);
const exhausted = (row, volume = given("volume")) => {
  const seconds = keyLife(row, volume),
    phones = row.capacity?.open_to;
  if (seconds === null || seconds >= DAYS * 86400) return "";
  return `${lasting(seconds)}, or the list is open to ${phones ? `${number(phones)} phone${phones === 1 ? "" : "s"}` : "modified phones"}`;
};
// what that comes to, said once in each part
const usedUpSaid = () => (designs().some((row) => exhausted(row)) ? "Once a key is used up, nobody is answered before a new set-up; without its limit on all accounts, the list is open to modified phones." : "");
const withLife = (row, words, volume) => (exhausted(row, volume) ? h`${words}; a key lasts ${exhausted(row, volume)}` : words);
const mayGrow = (row, name) =>
  valueOf(row, name) > CONSTANT && (name !== "update_bytes" || figureOf(row, name).why.startsWith(WHOLE));
// bytes at a list of `n`: [least, most, why]
const bytesAt = (row, name, n) => {
  const found = valueOf(row, name) ?? 0;
  return mayGrow(row, name)
    ? along(row, n, (one) => valueOf(one, name) ?? -1, name.startsWith("query") ? null : growthOf(row, "setup_growth_bytes"))
    : [found, found, "does not grow with the list"];
};
// of a picture, up and down: the slope is that of both together, so it counts once
const ASKED = ["query_up_bytes", "query_down_bytes"];
const askedAt = (row, n) => {
  // a voucher's length follows from the design's parameters, whatever the list
  const grows = asksNobody(row) ? [0, 0, ""] : figureOf(row, "query_growth_bytes").value === 0 ? growthOf(row, "query_growth_bytes") : null;
  const both = grows
    ? along(row, n, (one) => ASKED.reduce((sum, name) => sum + (valueOf(one, name) ?? 0), 0), grows)
    : ends((end) => ASKED.reduce((sum, name) => sum + bytesAt(row, name, n)[end], 0));
  return ends((end) => both[end] + voucherBytes(row));
};
const ends = (of) => [0, 1].map(of);
const bytesBetween = ([low, high]) => (bytes(low) === bytes(high) ? bytes(low) : h`${bytes(low)} to ${bytes(high)}`);
// bytes a day that all devices fetch: whole set-ups and updates together; what pictures cost up and down
const fetched = (row, n) =>
  valueOf(row, "setup_bytes") === null || valueOf(row, "update_bytes") === null
    ? null
    : ends(
        (end) =>
          given("devices") *
          ((bytesAt(row, "setup_bytes", n)[end] * given("setups")) / DAYS +
            bytesAt(row, "update_bytes", n)[end] * given("updates")),
      );
// the two together: bytes a day, up and down, of all devices, for matching
const moved = (row, n) => {
  if (row.design.relation === "nothing") return null;
  const [sets, asked] = [fetched(row, n), queries(row, n)];
  return (sets || asked) && ends((end) => (sets?.[end] || 0) + (asked?.[end] || 0));
};
const queries = (row, n) =>
  valueOf(row, "query_up_bytes") === null || Number.isNaN(voucherBytes(row))
    ? null
    : ends((end) => given("volume") * askedAt(row, n)[end]);

const changed = () => {
  const plan = now.run.options.update || {};
  return plan.adds === undefined
    ? "the run's changes"
    : h`${number(plan.adds)} entries added and ${number(plan.removes)} removed`;
};
const listName = (n, row) => (n === entries(row) ? h`this run's ${number(n)} entries` : h`a list of ${number(n)} entries`);
const costEvidence = (row, n) => {
  const found = cores(row, n),
    setups = fetched(row, n);
  return evidence(h`${code(row)}: cost at ${listName(n, row)}`, [
    ["server cores, all day at full load", found ? between(found[0], found[1]) : h`not measured${vouches(row) ? `: ${figureOf(row, "server_cpu_ms").why}` : ""}`],
    ["how", found ? h`${found[2]}; photos a day times CPU a picture` : ""],
    ["CPU of the servers' processes, a picture", fig(row, "server_cpu_ms")],
    [
      "CPU of the answers alone, a picture",
      h`${fig(row, "matcher_cpu_ms")}; the larger of the two is taken, since work that a server hands to other processes is not in the first`,
    ],
    [
      "whole set-up, each device",
      h`${fig(row, "setup_bytes")} at ${number(entries(row))} entries, so ${bytesBetween(bytesAt(row, "setup_bytes", n))}: ${bytesAt(row, "setup_bytes", n)[2]}`,
    ],
    [
      "update, each device",
      h`${fig(row, "update_bytes")}; ${plainly(figureOf(row, "update_bytes").why) || h`a change of the set, by ${changed()}; a longer list changes by more`}`,
    ],
    ["set-ups and updates, all devices, a day", setups === null ? "not measured" : bytesBetween(setups)],
    ["queries and replies, all devices, a day", queries(row, n) === null ? absent(figureOf(row, "query_up_bytes").why) : bytesBetween(queries(row, n))],
    [
      "photos a day; devices; set-ups a year; updates a day",
      glue(
        ["volume", "devices", "setups", "updates"].map((one) => number(given(one))),
        "; ",
      ),
    ],
    ["the key, at this volume", exhausted(row) && h`${exhausted(row)}: its limit on all accounts together is used up by then; limits by account alone are no other protection`],
    ["row in results.json", h`rows, id <code>${row.id}</code>, figures`],
  ]);
};
// a design that says its work is linear in the list grows, even where these runs cannot tell how much
const declaresGrowth = (row) => unresolved(row, "server_growth_u") && /work is linear/.test(figureOf(row, "server_growth_u").why || "");
const growthSaid = (row) => (declaresGrowth(row) ? "declared to grow with the list; by how much, not resolved" : "no growth resolved");
const coresAt = (row, n, where) => {
  const found = cores(row, n);
  const grown = n > entries(row) && unresolved(row, "server_growth_u") ? `; ${growthSaid(row)}` : "";
  const words = found ? (asksNobody(row) ? "no server asked" : h`${declaresGrowth(row) ? "at least " : ""}${between(found[0], found[1])} (${number(n)} entries${grown})`) : absent("");
  return opens(where, withLife(row, words), () => costEvidence(row, n));
};
const costAt = (row, n, where) => {
  const found = cores(row, n),
    all = moved(row, n),
    longest = longestOf(row, "server_growth_u");
  const words = vouches(row) ? "cores not measured" : found ? (asksNobody(row) ? "no server asked" : h`${between(found[0], found[1])}\u00a0cores${n > longest ? ` (to ${number(longest)} entries)` : ""}`) : absent("");
  return opens(where, withLife(row, h`${words}${all === null ? "" : `; ${bytesBetween(all)}`}`), () => costEvidence(row, n));
};
const movedAt = (row, n, where) => {
  const all = moved(row, n);
  return opens(where, all === null ? absent("") : bytesBetween(all), () => costEvidence(row, n));
};

// reports a day: [estimate, low, high] each, by recall and false-match rate
const flood = (recall, rate) => {
  const sent = given("volume"),
    known = sent * prevalence();
  const right = recall.map((one) => known * one),
    wrong = rate.map((one) => (sent - known) * one);
  const part = (f, t) => (f + t > 0 ? f / (f + t) : 0);
  return {
    right,
    missed: [known - right[0], known - right[2], known - right[1]],
    wrong,
    share: [part(wrong[0], right[0]), part(wrong[1], right[2]), part(wrong[2], right[1])],
    people: right.map((one, at) => ((one + wrong[at]) * given("minutes")) / given("day")),
  };
};
const triple = (figure) => (figure.value === null ? null : [figure.value, figure.low, figure.high]);
// chance that so many independent false matches a year reach a threshold (Poisson)
const reaches = (mean, threshold) => {
  if (mean <= 0) return 0;
  const log = [-mean];
  for (let k = 1; k < threshold + 2000; k++) log.push(log[k - 1] + Math.log(mean) - Math.log(k));
  const mass = (part) => part.reduce((total, one) => total + Math.exp(one), 0);
  return mean > threshold ? 1 - mass(log.slice(0, threshold)) : mass(log.slice(threshold));
};
