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
    return Number(v.toPrecision(3)).toLocaleString("en").replace(/,/g, "\u202f");
  };
  const range = (v, unit) => `${short(v[0])}${unit}<br><span class="soft">${short(v[1])} to ${short(v[2])}</span>`;

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
    const tell = () => {
      const t = Number(threshold.value), mean = Number(by("items").value) * Number(by("rate").value);
      by("threshold-out").textContent = t;
      let term = -mean, total = 0;
      for (let k = 1; k <= t; k++) term += Math.log(mean) - Math.log(k);
      for (let k = t; k < t + 2000; k++) { total += Math.exp(term); term += Math.log(mean) - Math.log(k + 1); }
      const p = mean > 0 ? Math.min(1, total) : 0;
      by("threshold-says").textContent = `With ${short(mean)} false matches an account and year, a threshold of ${t} is reached with probability ${p === 0 ? power("below 1e-300") : short(p)}.`;
    };
    for (const id of ["threshold", "items", "rate"]) by(id).addEventListener("input", tell);
    tell();
  }

  const calc = by("calc");
  if (calc) {
    const read = (id) => Number(by(`in-${id}`).value);
    const tell = () => {
      const volume = read("volume"), share = read("prevalence"), work = read("minutes") / read("day");
      const ratio = (f, t) => (f + t > 0 ? f / (f + t) : 0);
      const rows = by("calc-table").tBodies[0].rows;
      const literature = held.literature;
      [...held.designs, literature].forEach((one, at) => {
        if (one.recall[0] === null || one.false[0] === null) return;
        const t = one.recall.map((r) => volume * share * r);
        const f = one.false.map((r) => volume * (1 - share) * r);
        const cells = [range(t, ""), range([t[0], t[2], t[1]].map((v) => volume * share - v), ""), range(f, ""),
          range([ratio(f[0], t[0]), ratio(f[1], t[2]), ratio(f[2], t[1])].map((v) => 100 * v), "\u00a0%"),
          range(one.false, ""), range(t.map((v, i) => (v + f[i]) * work), ""),
          one.ms === null ? "not measured" : short(volume * one.ms / 86400000),
          one.bytes === null ? "not measured" : `${short(volume * one.bytes / 1e9)} GB`];
        cells.forEach((words, i) => { rows[at].cells[i + 1].innerHTML = words; });
      });
    };
    calc.addEventListener("input", tell);
    calc.addEventListener("submit", (event) => event.preventDefault());
  }
})();
