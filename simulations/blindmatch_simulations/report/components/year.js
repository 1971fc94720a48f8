// The model of a year, interpreted: what becomes of 100 known files sent, at shares that a reader chooses.
//
// In:   `view.year` (its equations as expressions, inputs, classes of accounts) and a design's behaviour.
// Out:  so many of 100 by fate. Point estimates only: intervals are computed in Python, for the named mix.
const DAYS = 365;

const OPERATORS = {
  "+": (a, b) => (at) => a(at) + b(at),
  "-": (a, b) => (at) => a(at) - b(at),
  "*": (a, b) => (at) => a(at) * b(at),
  "/": (a, b) => (at) => a(at) / b(at),
  min: (a, b) => (at) => Math.min(a(at), b(at)),
  max: (a, b) => (at) => Math.max(a(at), b(at)),
  mod: (a, b) => (at) => a(at) % b(at),
  same: (a, b) => (at) => Number(a(at) === b(at)),
  exp: (a) => (at) => Math.exp(a(at)),
  log: (a) => (at) => Math.log(a(at)),
};

// ---- what a threshold opens
// P(X >= least) by masses m(n), m(n + 1) = m(n) step(n): of what is left, or term by term where that is rare
const tailOf = (first, step, least, shrinks) => {
  if (least <= 0) return 1;
  let mass = first;
  let below = 0;
  for (let n = 0; n < least; n++) {
    below += mass;
    mass *= step(n);
  }
  if (!shrinks(least)) return Math.max(0, 1 - below);
  let tail = 0;
  for (let n = least; mass > 1e-17 * tail && mass > 0; n++) {
    tail += mass;
    mass *= step(n);
  }
  return tail;
};

// of a Poisson number whose mean is gamma-distributed: negative binomial
const gammaTail = (mean, shape, least) => {
  const p = mean / (mean + shape);
  return tailOf(
    (1 - p) ** shape,
    (n) => (p * (shape + n)) / (n + 1),
    least,
    () => p < 0.5,
  );
};

// What a threshold opens of a mean sharer's true matches until a day of its period, where no innocent picture
// matches. The page asks for true matches alone; `mixed_crossing` (bands.py) has the equation with false ones.
const openedUntil = (at, listed) => {
  const { threshold, shape, modified, unnoticed, sharing, recall, sends } = at;
  let made = 0;
  for (const [seen, part] of [
    [1, 1 - modified],
    [1 - unnoticed, modified],
  ]) {
    const mean = listed * sends * recall * seen;
    if (!(part * sharing > 0) || !(mean > 0)) continue;
    const left = mean * (1 - gammaTail((mean * (shape + 1)) / shape, shape + 1, threshold - 1));
    made += part * sharing * (mean - left);
  }
  return [made, 0, 0];
};
const OPENING = ["threshold", "shape", "modified", "unnoticed", "sharing", "recall", "sends"];

// ---- expressions become functions of an array, since a year is computed at each move of a slider
const compiler = (placeOf) => {
  const compiled = (expression) => {
    if (typeof expression === "string") {
      const at = placeOf(expression);
      return (known) => known[at];
    }
    if (!Array.isArray(expression)) return () => expression;
    const [name, ...all] = expression;
    const [first, ...rest] = all.map(compiled);
    if (name === "at_one") return (known) => (first(known) === 1 ? rest[0](known) : rest[1](known));
    if (name === "opened") return (known) => openedUntil(openingOf(known, placeOf), first(known));
    const operator = OPERATORS[name];
    return rest.length ? rest.reduce((made, one) => operator(made, one), first) : operator(first);
  };
  return compiled;
};
const openingOf = (known, placeOf) => Object.fromEntries(OPENING.map((name) => [name, known[placeOf(name)]]));

const compiledYear = (equations) => {
  const places = new Map();
  const placeOf = (name) => places.get(name) ?? places.set(name, places.size).get(name);
  const compiled = compiler(placeOf);
  // a row names one number, or those that its expression gives together
  const rowsOf = (rows) => rows.map(([name, expression]) => [[name].flat().map(placeOf), compiled(expression)]);
  OPENING.forEach(placeOf);
  return {
    fixed: rowsOf([...equations.fixed, ...equations.before]),
    daily: rowsOf(equations.daily),
    left: Object.entries(equations.left).map((pair) => pair.map(placeOf)),
    told: equations.told.map((name) => [name, placeOf(name)]),
    day: placeOf("day"),
    last: placeOf("last_day"),
    places,
  };
};

const settle = (known, rows) => {
  for (const [where, of] of rows) {
    const found = of(known);
    where.forEach((at, one) => (known[at] = Array.isArray(found) ? found[one] : found));
  }
};

// The sum of each output over a year.
const countsOfYear = (model, parameters) => {
  const known = new Float64Array(model.places.size);
  const sums = Object.fromEntries(model.told.map(([name]) => [name, 0]));
  for (const [name, value] of Object.entries(parameters)) {
    if (model.places.has(name)) known[model.places.get(name)] = value;
  }
  known[model.last] = DAYS - 1;
  settle(known, model.fixed);
  for (let day = 0; day < DAYS; day++) {
    known[model.day] = day;
    settle(known, model.daily);
    for (const [name, at] of model.told) sums[name] += known[at];
    for (const [before, at] of model.left) known[before] = known[at];
  }
  return sums;
};

// ---- of 100 known files sent
const FATE_OUTPUTS = {
  video: ["missed_video"],
  away: ["missed_unlisted", "missed_outage"],
  modified: ["missed_modified"],
  unrecognised: ["missed_unrecognised"],
  held: ["held_by_threshold"],
  found: ["true_reports"],
};

const yearCalculator = (year) => {
  const model = compiledYear(year.model);
  const remembered = new Map();

  // `chosen` has the shares of videos and of clients that never ask.
  return (behaviour, chosen) => {
    const parameters = {
      ...year.base,
      asks: behaviour.asks,
      threshold: behaviour.threshold,
      period: behaviour.by_period ? year.base.life_days : DAYS,
      recall: behaviour.ranges.recall.value,
      unnoticed: behaviour.ranges.unnoticed.value,
      false_rate: 0,
      ...chosen,
    };
    const key = JSON.stringify(parameters);
    if (!remembered.has(key)) {
      const counts = countsOfYear(model, parameters);
      const sent = year.base.accounts * year.base.files;
      const share = (names) => names.reduce((sum, name) => sum + (100 * counts[name]) / sent, 0);
      remembered.set(
        key,
        Object.fromEntries(Object.entries(FATE_OUTPUTS).map(([fate, names]) => [fate, share(names)])),
      );
    }
    return remembered.get(key);
  };
};
