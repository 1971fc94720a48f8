"use strict";
(() => {
  const held = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const raised = "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
  const power = (words) => words.replace(/e([+-]\d+)$/, (_, exponent) =>
    `\u00a0\u00d7\u00a010${[...String(Number(exponent))].map((one) => raised["-0123456789".indexOf(one)]).join("")}`);
  const sum = (list, end) => list.slice(0, end).reduce((a, b) => a + b, 0);
  const short = (v) => {
    if (v === 0) return "0";
    if (v < 0.01 || v >= 1e9) return power(v.toExponential(2));
    return Number(v.toPrecision(3)).toLocaleString("en", {maximumSignificantDigits: 3}).replace(/,/g, "\u202f");
  };
  const range = (v, unit) => `${short(v[0])}${unit}<br><span class="soft">${short(v[1])} to ${short(v[2])}</span>`;

  const refused = (fields) => fields.filter((one) => {
    const bad = !one.checkValidity() || !Number.isFinite(one.valueAsNumber);
    one.setAttribute("aria-invalid", bad);
    return bad;
  }).map((one) => `${one.labels[0].textContent}: must be ${short(Number(one.min))} to ${short(Number(one.max))}`);

  const distance = by("distance");
  if (distance) {
    const tell = () => {
      const at = Number(distance.value), data = held.sliders;
      by("distance-out").textContent = at;
      const part = (list, what) => `${sum(list, at + 1)} of ${sum(list, 257)} ${what}`;
      const pairs = data.pairs.map((one) => part(one.histogram, `pairs of different ${one.kind}`));
      by("distance-says").textContent = `At distance ${at}: ` + [part(data.listed, "listed pictures found"),
        part(data.others, "other pictures flagged"), ...pairs].join("; ") + ".";
    };
    distance.addEventListener("input", tell);
    tell();
  }

  const threshold = by("threshold");
  if (threshold) {
    const fields = [by("items"), by("rate")];
    const tell = () => {
      const t = Number(threshold.value), mean = Number(by("items").value) * Number(by("rate").value);
      const bad = refused(fields);
      by("threshold-out").textContent = t;
      if (bad.length) { by("threshold-says").textContent = bad.join("; "); return; }
      const log = [-mean];
      for (let k = 1; k < t + 2000; k++) log.push(log[k - 1] + Math.log(mean) - Math.log(k));
      const mass = (part) => part.reduce((total, one) => total + Math.exp(one), 0);
      const p = mean > t ? 1 - mass(log.slice(0, t)) : mean > 0 ? mass(log.slice(t)) : 0;
      by("threshold-says").textContent = `With ${short(mean)} false matches an account and year, a threshold of ${t} is reached with probability ${p === 0 ? power("below 1e-300") : short(p)}.`;
    };
    for (const id of ["threshold", "items", "rate"]) by(id).addEventListener("input", tell);
    tell();
  }

  const calc = by("calc");
  if (calc) {
    const fields = [...calc.querySelectorAll("input")];
    const given = (id) => Number(by(`in-${id}`).value);
    const traffic = (v) => v === null ? "not measured" : `${short(v / 1e9)} GB`;
    const row = (one) => {
      const volume = given("volume"), listed = volume * given("prevalence");
      const ratio = (f, t) => (f + t > 0 ? f / (f + t) : 0), work = given("minutes") / given("day");
      const t = one.recall.map((r) => listed * r), f = one.false.map((r) => (volume - listed) * r);
      const each = one.setup * given("setups") / 365 + one.update * given("updates");
      const fetched = one.setup === null || one.update === null ? null : given("devices") * each;
      return [range(t, ""), range([t[0], t[2], t[1]].map((v) => listed - v), ""), range(f, ""),
        range([ratio(f[0], t[0]), ratio(f[1], t[2]), ratio(f[2], t[1])].map((v) => 100 * v), "\u00a0%"),
        range(one.false, ""), range(t.map((v, i) => (v + f[i]) * work), ""),
        one.ms === null ? "not measured" : `${short(volume * one.ms / 86400000)}<br><span class="soft">${one.of}</span>`,
        ...[one.up, one.down].map((bytes) => traffic(bytes === null ? null : volume * bytes)), traffic(fetched)];
    };
    const tell = () => {
      const bad = refused(fields), rows = by("calc-table").tBodies[0].rows;
      by("calc-says").textContent = bad.join("; ");
      [...held.designs, held.literature].forEach((one, at) => {
        if (one.recall[0] === null || one.false[0] === null) return;
        const cells = bad.length ? Array(rows[at].cells.length - 1).fill("not computed") : row(one);
        cells.forEach((words, i) => { rows[at].cells[i + 1].innerHTML = words; });
      });
    };
    calc.addEventListener("input", tell);
    calc.addEventListener("submit", (event) => event.preventDefault());
  }
})();
