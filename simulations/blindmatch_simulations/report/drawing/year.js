// A year of a messenger: what `population` computes, by the same data (year.json), at the settings above.
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
// chances of 0 .. most - 1 of a Poisson number
const poissonMasses = (mean, most) => {
  const masses = [Math.exp(-mean)];
  for (let n = 1; n < most; n++) masses.push((masses[n - 1] * mean) / n);
  return masses;
};
// P(X >= least) by masses m(n), m(n + 1) = m(n) step(n): of what is left, or term by term where that is rare
const tailOf = (first_, step, least, shrinks) => {
  if (least <= 0) return 1;
  let mass = first_, below = 0;
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
const poissonTail = (mean, least) => tailOf(Math.exp(-mean), (n) => mean / (n + 1), least, (n) => mean < n / 2);
// the same of a Poisson number whose mean is gamma-distributed: negative binomial
const gammaTail = (mean, shape, least) => {
  const p = mean / (mean + shape);
  return tailOf((1 - p) ** shape, (n) => (p * (shape + n)) / (n + 1), least, () => p < 0.5);
};
// what a threshold opens of a mean sharer's true matches and of false ones a picture, until a day of its period: reports
// of both, and accounts with a false one. The equations are those of `mixed_crossing` and `false_crossing` (bands.py).
const openedUntil = (at, listed, own_, copies_) => {
  const {threshold: t, series, shape, modified, unnoticed, sharing, accounts, pictures, recall, sends, classes} = at;
  const made = [0, 0, 0],
    most = Math.ceil(t / series);
  for (const [seen, part] of [[1, 1 - modified], [1 - unnoticed, modified]]) {
    if (!(part * sharing > 0)) continue;
    const mean = listed * sends * recall * seen;
    // of so many false matches: P(T < t - f), and E[T; T < t - f]
    const few = [], left = [];
    for (let f = 0; f < t; f++) {
      few.push(1 - gammaTail(mean, shape, t - f));
      left.push(mean * (1 - gammaTail((mean * (shape + 1)) / shape, shape + 1, t - f - 1)));
    }
    for (const [rate_, , share] of classes) {
      const each = seen * pictures * rate_,
        ofSeries = poissonMasses((each * own_) / series, most),
        ofCopies = poissonMasses(each * copies_, t);
      let [reached, trues, falses, wrong] = [1, mean, each * (own_ + copies_), 0];
      for (let f = 0; f < t; f++) {
        let chance = 0;
        for (let j = 0; series * j <= f; j++) chance += ofSeries[j] * ofCopies[f - series * j];
        reached -= chance * few[f];
        trues -= chance * left[f];
        falses -= f * chance * few[f];
        if (!f) wrong = chance * (1 - few[0]);
      }
      [trues, falses, reached - wrong].forEach((one, row) => (made[row] += part * sharing * share * one));
    }
  }
  for (const [rate_, share, sharers] of classes) {
    const each = pictures * rate_,
      mean = (each * own_) / series,
      ofSeries = poissonMasses(mean, most);
    let reached = poissonTail(mean, most),
      reports = each * own_ * poissonTail(mean, most - 1) + each * copies_ * reached;
    for (let j = 0; j < most; j++) {
      const enough = poissonTail(each * copies_, t - series * j);
      reached += ofSeries[j] * enough;
      reports += ofSeries[j] * (series * j * enough + each * copies_ * poissonTail(each * copies_, t - series * j - 1));
    }
    const count = accounts * share - sharing * sharers;
    made[1] += count * reports;
    made[2] += count * reached;
  }
  return made;
};
const OPENING = ["threshold", "series", "shape", "modified", "unnoticed", "sharing", "accounts", "pictures", "recall", "sends"];
// an expression's value for numbers by name
const evaluated = (expression, numbers) => {
  if (!Array.isArray(expression)) return typeof expression === "string" ? numbers[expression] : expression;
  const [name, ...all] = expression;
  return all.map((one) => evaluated(one, numbers)).reduce((a, b) => OPERATORS[name](() => a, () => b)());
};
// names become places in an array: thousands of years are computed at each move of a slider
const yearModel = (told) => {
  const places = new Map();
  const place_ = (name) => places.get(name) ?? places.set(name, places.size).get(name);
  const opening = OPENING.map((name) => [name, place_(name)]);
  const compiled = (expression) => {
    if (typeof expression === "string") {
      const at = place_(expression);
      return (known) => known[at];
    }
    if (!Array.isArray(expression)) return () => expression;
    const [name, ...all] = expression,
      [first_, ...rest] = all.map(compiled),
      of = OPERATORS[name];
    if (name === "at_one") return (known) => (first_(known) === 1 ? rest[0](known) : rest[1](known));
    if (name === "opened")
      return (known) => {
        const at = {classes: known.classes};
        for (const [one, where] of opening) at[one] = known[where];
        return openedUntil(at, first_(known), rest[0](known), rest[1](known));
      };
    return rest.length ? rest.reduce((made, one) => of(made, one), first_) : of(first_);
  };
  // a row names one number, or those that its expression gives together
  const each = (rows) => rows.map(([name, expression]) => [[name].flat().map(place_), compiled(expression)]);
  return {
    fixed: each([...told.fixed, ...told.before]), daily: each(told.daily), left: Object.entries(told.left).map((two_) => two_.map(place_)),
    told: told.told, toldAt: told.told.map(place_), day: place_("day"), last: place_("last_day"), places,
  };
};
const settle = (known, rows) => {
  for (const [where, of] of rows) {
    const found = of(known);
    where.forEach((at, one) => (known[at] = Array.isArray(found) ? found[one] : found));
  }
};
// by output the value of each day
const daysOf = (model, parameters, days = DAYS) => {
  const known = new Float64Array(model.places.size),
    made = model.told.map(() => new Float64Array(days));
  for (const [name, value] of Object.entries(parameters)) if (model.places.has(name)) known[model.places.get(name)] = value;
  known.classes = parameters.classes;
  known[model.last] = days - 1;
  settle(known, model.fixed);
  for (let day = 0; day < days; day++) {
    known[model.day] = day;
    settle(known, model.daily);
    model.toldAt.forEach((at, one) => (made[one][day] = known[at]));
    for (const [before, at] of model.left) known[before] = known[at];
  }
  return Object.fromEntries(model.told.map((name, one) => [name, made[one]]));
};
// the centre: reports in order of arrival, complaints first; what waits at the end, and people kept busy, mean
const queueOf = (trues, falses, centre) => {
  const days = trues.length,
    until = {came: [0], wrong: [0]};
  for (let day = 0; day < days; day++) {
    until.came.push(until.came[day] + trues[day] + falses[day]);
    until.wrong.push(until.wrong[day] + falses[day]);
  }
  let [owed, spare, decided, found, first, people, backlog] = [0, 0, 0, 0, 0, 0, 0];
  for (let day = 0; day < days; day++) {
    const shift = day % 7 < centre.days_a_week ? centre.staff * centre.day_minutes : 0,
      heard = Math.min(owed, shift),
      waiting = until.came[day + 1] - decided;
    spare += shift - heard;
    const number = Math.min(waiting, spare / centre.minutes);
    spare = number < waiting ? spare - number * centre.minutes : 0;
    decided += number;
    while (first < days - 1 && until.came[first + 1] <= decided) first++;
    const came = trues[first] + falses[first],
      now_ = until.wrong[first] + ((decided - until.came[first]) * falses[first]) / Math.max(came, 1e-300),
      complaints = (now_ - found) * centre.passes_false * centre.complains;
    found = now_;
    owed += complaints * centre.complaint_minutes - heard;
    backlog = waiting - number;
    people += ((trues[day] + falses[day]) * centre.minutes + complaints * centre.complaint_minutes) / centre.day_minutes;
  }
  return {backlog, people_needed: ((people / days) * 7) / centre.days_a_week};
};
const sumOf = (row) => row.reduce((a, b) => a + b, 0);
const countsOf = (days) => Object.fromEntries(Object.entries(days).map(([name, row]) => [name, sumOf(row)]));
// with so many times the reports of both kinds
const centreOfYear = (days, parameters, [trues, falses] = [1, 1]) =>
  queueOf(days.true_reports.map((one) => one * trues), days.false_reports.map((one) => one * falses), parameters);
// of the whole run, as expected
const yearOf = (model, parameters, days) => {
  const made = daysOf(model, parameters, days);
  return {...countsOf(made), ...centreOfYear(made, parameters)};
};

// ---- chance: where a year's count lies with probability p, without random numbers. A count is Poisson given cascades;
// of sizes that are many in a year the sum is normal, of the others its distribution is computed (Panjer, 1981).
const normal = (x) => {
  const z = Math.abs(x) / Math.SQRT2,
    t = 1 / (1 + 0.5 * z),
    c = [1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  const tail = t * Math.exp(-z * z - 1.26551223 + c.reduceRight((sum, one) => t * (one + sum), 0));
  return x > 0 ? 1 - tail / 2 : tail / 2;
};
const MANY = 3,
  NEVER = 3e-4,
  MOST_STEPS = 1 << 15;
// `share` of `sends` comes in cascades, of each of whose copies `of` counts; `unit` counts come together
const countQuantile = (p, {total, share, of, unit, sizes, spread, sends = total / of}) => {
  if (!(total > 0)) return 0;
  const mean = sumOf(sizes.map(([size, chance]) => size * chance)),
    jumps = of > 0 ? sizes.map(([size, chance]) => ({rate: (sends * share * chance) / mean, size: of * size})) : [];
  let last = jumps.length; // larger ones come in fewer than `NEVER` years
  for (let rarer = 0; last && (rarer += jumps[last - 1].rate) < NEVER; ) last--;
  const from = jumps.findIndex((one) => one.rate < MANY),
    [many, few] = from < 0 ? [jumps, []] : [jumps.slice(0, from), jumps.slice(from, last)],
    weight = (rows, power) => sumOf(rows.map((one) => one.rate * one.size ** power));
  const middle = total - weight(jumps.slice(many.length), 1),
    deviation = Math.sqrt(unit * total + weight(many, 2) + spread),
    step = few.length ? few[0].size : 1,
    chances = [Math.exp(-weight(few, 0))],
    until = [chances[0]];
  for (let n = 1; few.length && until[n - 1] < 1 - NEVER && n < MOST_STEPS; n++) {
    let sum = 0;
    for (let at = 0, size = 1; at < few.length && size <= n; at++, size *= 2) sum += size * few[at].rate * chances[n - size];
    chances.push(sum / n);
    until.push(until[n - 1] + sum / n);
  }
  const below = (count) => {
    const sure = Math.min(chances.length - 1, Math.floor((count - middle - 6 * deviation) / step)),
      most = Math.min(chances.length - 1, Math.ceil((count - middle + 6 * deviation) / step));
    let sum = sure >= 0 ? until[sure] : 0;
    for (let n = Math.max(0, sure + 1); n <= most; n++) sum += chances[n] * normal((count - middle - n * step) / deviation);
    return sum;
  };
  let [low, high] = [middle - 6 * deviation, middle + 6 * deviation + step * chances.length];
  for (let at = 0; at < 50; at++) {
    const half = (low + high) / 2;
    if (below(half) > p) high = half;
    else low = half;
  }
  return Math.max(0, low);
};
const ENDS_95 = [0.025, 0.975];
const sizesOf = (exponent, largest, senders) => {
  const doublings = Math.floor(Math.log2(Math.max(2, Math.min(largest, senders)))),
    chances = Array.from({length: doublings}, (_, at) => 2 ** (-exponent * (at + 1))),
    all = sumOf(chances);
  return chances.map((chance, at) => [2 ** (at + 1), chance / all]);
};
// E[m^k e^(-c m)] of a gamma-distributed m
const gammaMoment = (mean, shape, k, c) => {
  const scale = mean / shape;
  let made = (1 + c * scale) ** -(shape + k);
  for (let i = 0; i < k; i++) made *= scale * (shape + i);
  return made;
};
// of a sharer with so many expected true matches a period: mean and variance of the reports of all periods, whose sum
// differs by more than chance, since who sends much does so in each of them. Of a period's K matches, given their mean m,
// E[K; K >= t] = m P(K >= t - 1); its square's mean over m is that of two periods of one sharer.
const openedOfSharer = (mean, shape, t, times) => {
  const first_ = mean * gammaTail((mean * (shape + 1)) / shape, shape + 1, t - 1),
    square = mean ** 2 * (1 + 1 / shape) * gammaTail((mean * (shape + 2)) / shape, shape + 2, t - 2) + first_;
  let both = gammaMoment(mean, shape, 2, 0), factor = 1;
  for (let i = 0; i < t - 1; i++) {
    both -= (2 * gammaMoment(mean, shape, 2 + i, 1)) / factor;
    let other = 1;
    for (let j = 0; j < t - 1; j++) {
      both += gammaMoment(mean, shape, 2 + i + j, 2) / (factor * other);
      other *= j + 1;
    }
    factor *= i + 1;
  }
  return [times * first_, times * square + times * (times - 1) * Math.max(0, both) - (times * first_) ** 2];
};
const chanceOf = (name, total, at, days = DAYS) => {
  if (name === "false_reports")
    // own pictures come in series, copies of a cascade one by one
    return {total, share: at.cascades, of: 1, unit: at.series * (1 - at.cascades) + at.cascades, spread: 0, sizes: sizesOf(at.exponent, at.largest, at.accounts)};
  const video = name === "missed_video" ? at.video : 1 - at.video,
    sends = (at.accounts * at.files * video * days) / DAYS,
    sharers = at.sharing * (name === "missed_modified" ? at.modified : 1),
    sizes = sizesOf(at.exponent, at.largest, at.sharing);
  if (name === "true_reports" && at.threshold > 1) {
    const times = days / at.period,
      honest = (1 - at.modified * at.unnoticed) * at.sharing,
      mean = (sends * at.recall) / (at.sharing * times),
      step = 1e-4,
      [found, variance] = openedOfSharer(mean, at.shape, at.threshold, times),
      [more] = openedOfSharer(mean * (1 + step), at.shape, at.threshold, times);
    // a cascade brings more matches to many, and past the threshold more than in proportion
    const steep = found > 0 ? (more / found - 1) / step : 1;
    return {total, share: at.cascades_known, of: sends > 0 ? (steep * total) / sends : 0, sends, unit: 0, spread: found > 0 ? (variance * honest * total ** 2) / (found * honest) ** 2 : 0, sizes};
  }
  return {total, share: at.cascades_known, of: sends > 0 ? total / sends : 0, unit: 1, spread: sharers > 0 ? total ** 2 / (sharers * at.shape) : 0, sizes};
};
// ---- accounts that false matches alone open in a year, once a period at most: each match for itself, and with bursts, whose
// number in an account is Poisson and whose sizes are geometric (compound Poisson: Panjer, 1981), as `threshold.py` has it
const binomialTail = (n, rate, least) => {
  if (least > n) return 0;
  return tailOf((1 - rate) ** n, (k) => ((n - k) / (k + 1)) * (rate / (1 - rate)), least, (k) => n * rate < k / 2);
};
const compoundTail = (mean, events, size, least) => {
  const masses = [Math.exp(-mean - events)];
  for (let n = 1; n < least; n++) {
    let sum = mean * masses[n - 1];
    for (let k = 1; k <= n; k++) sum += k * events * (1 - 1 / size) ** (k - 1) * (1 / size) * masses[n - k];
    masses.push(sum / n);
  }
  return Math.max(0, 1 - sumOf(masses));
};
const openedByChance = ({rate, threshold, period, pictures, accounts, classes}, {events, size}) => {
  const mean = sumOf(classes.map(([each, share]) => each * share)),
    found = [0, 0];
  for (const [each, share] of classes) {
    const sent = Math.max(1, Math.round(each * pictures * period)),
      alone = binomialTail(sent, rate, threshold),
      bursty = threshold > sent ? 0 : compoundTail(sent * rate, (events * each) / mean, size, threshold);
    found[0] += share * alone;
    found[1] += share * Math.max(alone, bursty);
  }
  return found.map((one) => (one * accounts * DAYS) / period);
};
// ---- bands, as `population` has them
const CORNERS = ["low low high", "high high low", "high low low", "low high high", "low low low", "high high high"].map((one) => one.split(" "));
const YEARLY = ["true_reports", "false_reports", "held_by_threshold", "missed_unrecognised", "missed_modified", "missed_video"];
const REPORTED = ["true_reports", "false_reports"];
const CENTRAL = ["people_needed", "backlog"];
const UNKNOWN = "not determinable";
// what is not computed of a year: what a false-match rate decides that nobody knows, and chance where it opens accounts
const lacking = ({ranges}, {threshold}) => (!ranges.false_rate || threshold > 1 ? ["false_reports", ...CENTRAL] : []);
const atEnds = ({ranges}, ends) => ({
  recall: ranges.recall[ends[0]], false_rate: ranges.false_rate ? ranges.false_rate[ends[1]] : 0, unnoticed: ranges.unnoticed[ends[2]],
});
const bandsOf = (model, behaviour, base, days = DAYS) => {
  const bands = {},
    widen = (name, values) => (bands[name] = [Math.min(...values, bands[name]?.[0] ?? Infinity), Math.max(...values, bands[name]?.[1] ?? -Infinity)]);
  const done = new Set(),
    without = lacking(behaviour, base),
    yearly = YEARLY.filter((name) => !without.includes(name));
  CORNERS.forEach((ends, corner) => {
    const at = {...base, ...atEnds(behaviour, ends)},
      key = JSON.stringify(at);
    if (done.has(key)) return;
    done.add(key);
    const made = daysOf(model, at, days),
      year = countsOf(made),
      drawn = Object.fromEntries(yearly.map((name) => [name, ENDS_95.map((p) => countQuantile(p, chanceOf(name, year[name], at, days)))]));
    for (const name of yearly) widen(name, drawn[name]);
    if (corner > 3 || without.length) return;
    for (const end of [0, 1]) {
      const queue = centreOfYear(made, at, REPORTED.map((name) => (year[name] > 0 ? drawn[name][end] / year[name] : 1)));
      for (const name of CENTRAL) widen(name, [queue[name]]);
    }
  });
  return bands;
};
// with every input that the reader left alone and every measured figure between its ends, too
const JOINT = 150;
const jointOf = (model, behaviour, base, free, days = DAYS) => {
  let state = 1;
  // mulberry32: the same numbers for every setting
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const between_ = ([value, low, high]) => {
    const part = 2 * random(),
      [from, to_] = part < 1 ? [low, value] : [value, high];
    return from > 0 ? from * (to_ / from) ** (part % 1) : from + (to_ - from) * (part % 1);
  };
  const rows = Array.from({length: JOINT}, () => {
    const at = {...base};
    for (const {name, ends, whole} of free) at[name] = whole ? Math.round(between_(ends)) : between_(ends);
    at.sharing = at.share_sharing * at.accounts;
    at.burned = at.left > 0 ? at.left ** Math.ceil(Math.log(1e-6) / Math.log(at.left)) : 0;
    const measured = Object.fromEntries(Object.entries(behaviour.ranges).map(([name, one]) => [name, one && between_([one.value, one.low, one.high])]));
    at.recall = measured.recall;
    at.unnoticed = measured.unnoticed;
    at.false_rate = behaviour.assumed && at.rate !== undefined ? at.rate : (measured.false_rate ?? 0);
    if (at.by_period) at.period = at.life_days;
    const made = daysOf(model, at, days),
      year = countsOf(made);
    const factors = REPORTED.map((name) => {
      const drawn = countQuantile(0.0005 + 0.999 * random(), chanceOf(name, year[name], at, days));
      return year[name] > 0 ? drawn / year[name] : 1;
    });
    const [trues, falses] = REPORTED.map((name, one) => year[name] * factors[one]);
    return {...year, true_reports: trues, false_reports: falses, ...centreOfYear(made, at, factors)};
  });
  const quantile = (name, p) => {
    const sorted = rows.map((one) => one[name]).sort((a, b) => a - b),
      at = p * (sorted.length - 1),
      low = Math.floor(at);
    return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  };
  const names = [...YEARLY, ...CENTRAL].filter((name) => !lacking(behaviour, base).includes(name));
  return Object.fromEntries(names.map((name) => [name, ENDS_95.map((p) => quantile(name, p))]));
};
// of people and what follows from them nothing is said that no centre could be
const verdictsOf = ({people_needed}, most) => {
  const [low, high] = people_needed || [0, 0];
  return high <= most ? {} : low > most ? {people_needed: `beyond any capacity (${number(most)})`} : {people_needed: UNKNOWN, backlog: UNKNOWN};
};

// ---- at the settings of the page
const inputOf = (ident) => now.sources.inputs.find((one) => one.ident === ident);
const left_ = (ident) => given(ident) === inputOf(ident).value;
const behaviours = () => {
  const known = now.behaviours?.[now.run.digest] || [];
  return [...inOrder().flatMap((row) => known.filter((one) => one.name === row.id)), now.sources.year.literature];
};
const behaviourOf = (row) => (now.behaviours?.[now.run.digest] || []).find((one) => one.name === row.id);
// a rate measured with one length of list at another: `at_length` of false_matches.py
const atLength = ({item, exponent}, wanted) => {
  const {value, n, pairs} = item,
    times = (wanted * n) / pairs,
    own = exponent.value ?? 1,
    least = exponent.low ?? own;
  let [low, high] = [item.low ?? 0, item.high ?? value];
  if (times >= 1) [low, high] = [low * times ** least, high * times];
  else [low, high] = [low * times, high * (exponent.low === null ? 1 : times ** least)];
  const scaled = Math.min(1, value * times ** own);
  return {value: scaled, low: Math.min(1, low, scaled), high: Math.min(1, Math.max(high, scaled))};
};
const breakEven = () => {
  const {model, base} = now.sources.year;
  return evaluated(model.break_even, {files: given("files") / base.accounts, pictures: given("volume") / base.accounts, video: base.video});
};
const atSettings = (chosen = behaviours()[Math.min(given("design"), behaviours().length - 1)]) => {
  const {base, uncertain} = now.sources.year,
    rate = given("errors") * (1 - chosen.made_up),
    held = {...chosen, assumed: Boolean(rate) || chosen.assumed, ranges: rate ? {...chosen.ranges, false_rate: {value: rate, low: rate, high: rate}} : chosen.ranges};
  const at = {
    ...base, asks: chosen.asks, pictures: given("volume") / base.accounts, files: given("files") / base.accounts,
    modified: given("modified"), staff: given("staff"), minutes: given("minutes"), day_minutes: given("day"),
    threshold: chosen.threshold, by_period: chosen.by_period, period: chosen.by_period ? base.life_days : DAYS, classes: now.sources.year.classes,
  };
  const fixed = new Set([
    ...(left_("volume") && left_("files") ? [] : ["accounts"]),
    ...[["volume", "pictures"], ["files", "files"], ["modified", "modified"], ["staff", "staff"], ["minutes", "minutes"], ["day", "day_minutes"]]
      .filter(([ident]) => !left_(ident))
      .map(([, name]) => name),
    ...(rate ? ["rate"] : []),
  ]);
  return {held, at, free: uncertain.filter((one) => !fixed.has(one.name))};
};
const remembered = {key: "", made: null};
const yearNow = () => {
  const {held, at, free} = atSettings(),
    key = JSON.stringify([held, at, free.length]);
  if (remembered.key === key) return remembered.made;
  const model = yearModel(now.sources.year.model),
    expected = yearOf(model, {...at, ...atEnds(held, ["value", "value", "value"])}),
    bands = bandsOf(model, held, at),
    joint = jointOf(model, held, at, free);
  for (const name of Object.keys(bands)) bands[name] = [Math.min(bands[name][0], expected[name]), Math.max(bands[name][1], expected[name])];
  remembered.made = {held, at, expected, bands, joint, verdicts: verdictsOf(bands, now.sources.year.staff_most)};
  remembered.key = key;
  return remembered.made;
};
// ---- of 100 known files sent, by the year's model: what becomes of them, for one design
const FATES = {
  video: ["missed_video"],
  away: ["missed_unlisted", "missed_outage"],
  modified: ["missed_modified"],
  unrecognised: ["missed_unrecognised"],
  held: ["held_by_threshold"],
  found: ["true_reports"],
};
const hundredOf = (behaviour) => {
  const {held, at} = atSettings(behaviour),
    made = countsOf(daysOf(yearModel(now.sources.year.model), {...at, ...atEnds(held, ["value", "value", "value"])})),
    sent = at.accounts * at.files;
  return Object.fromEntries(Object.entries(FATES).map(([name, of]) => [name, (100 * sumOf(of.map((one) => made[one]))) / sent]));
};
const tenths = (v) => number(Math.round(10 * v) / 10);
const SAID_OF = {
  true_reports: "right matches, which this design reports",
  false_reports: "wrong matches, before checks",
  held_by_threshold: "right matches held below the threshold",
  missed_unrecognised: "missed: edit not recognised",
  missed_modified: "missed: clients that never ask",
  missed_video: "missed: video",
  people_needed: "reviewers needed, without checks",
  backlog: "matches left waiting",
};
const some = (v) => (v >= 1000 ? large(Number(v.toPrecision(3))) : number(Number(v.toPrecision(3))));
const someTo = ([low, high]) => (some(low) === some(high) ? some(low) : `${some(low)} to ${some(high)}`);
const unknownRate = ({held}) => !held.ranges.false_rate;
const notKnown = (made, name) => unknownRate(made) && lacking(made.held, made.at).includes(name);
const expectedOf = (made, name) => (notKnown(made, name) ? "not known" : made.verdicts[name] || some(made.expected[name]));
const mixSaid = () => glue(Object.entries(now.sources.year.mix.shares).map(([name, share]) => h`${name} ${percent(share)}`), ", ");
// ---- false matches: what was seen, the least flattering rate that can be defended, and where half of all are wrong
const yearList = () => given("list") || now.sources.year.entries;
const oneIn = (rate) => `one error in ${some(1 / rate)} pictures`;
const breakEvenSaid = () =>
  opens(place("year", "balance"), oneIn(breakEven()), () =>
    evidence("Where half of all matches are wrong", [
      ["equation", "known files sent, less videos, over all pictures sent: so many right matches if every known picture is found, and as many wrong ones"],
      ["assumed", h`${some(given("files"))} known files a year, ${percent(now.sources.year.base.video)} of them videos; ${some(given("volume"))} pictures a day`],
      ["what moves it", "a matcher that finds a part of the known pictures has as many wrong as right ones at that part of this rate"],
      ["command", h`<code>blindmatch population</code>, <code>break_even</code>`],
    ]),
  );
const seenSaid = ({seen}) =>
  h`${number(Math.round(seen.value * seen.n))} of ${number(seen.n)} photographs, near-duplicates set apart, matched a picture of another source, in a list of ${some(seen.pairs / seen.n)}${seen.value ? "" : h`, which excludes only rates above ${percent(seen.high)}, if photographs err independently`}`;
const listSaid = ({list: kind, item, exponent}, ident) => {
  const own = item.pairs / item.n,
    there = atLength({item, exponent}, yearList());
  return opens(
    place("year", "list", kind, ident),
    h`${item.value ? percent(item.value) : h`none of ${number(item.n)}`} ${soft(h`(${between(item.low, item.high, percent)})`)} against a list of ${some(own)} ${kind === "photographs" ? "photographs" : "of all kinds"}`,
    () =>
      evidence(h`All kinds of pictures against a list: ${kind}`, [
        ["of", h`${number(item.n)} pictures of the reference corpus, each against those of other sources`],
        ["interval", item.why],
        [h`at ${some(yearList())} entries, scaled: a model`, h`${percent(there.value)} (${between(there.low, there.high, percent)})`],
        ["exponent", exponent.value === null ? exponent.why : h`${number(exponent.value)} (${between(exponent.low, exponent.high)}): ${exponent.why}; upper end: in proportion to the length`],
        ["command", h`<code>blindmatch corpus evidence</code>`],
      ]),
  );
};
const scaledSaid = (one) => {
  const {value, low, high} = atLength(one, yearList());
  return h`${percent(value)} ${soft(h`(${between(low, high, percent)})`)}`;
};
const scaledTo = (known) => (known ? h` Scaled to ${some(yearList())} entries, by a model, these two rates are ${glue(known.lists.map(scaledSaid), "; ")}.` : "");
// the same where its head names the lists
const listCell = ({list: kind, item}, ident) =>
  opens(place("year", "cell", kind, ident), h`${item.value ? percent(item.value) : h`none of ${number(item.n)}`} ${soft(h`(${between(item.low, item.high, percent)})`)}`, () =>
    evidence(h`All kinds of pictures against a list: ${kind}`, [
      ["of", h`${number(item.n)} pictures, against a list of ${number(item.pairs / item.n)}`],
      ["interval", item.why],
      ["command", h`<code>blindmatch corpus evidence</code>`],
    ]),
  );
const listsHead = () => {
  const known = behaviours().find((one) => one.false)?.false.lists.at(-1).item;
  return known ? h`list of ${some(known.pairs / known.n)} of all kinds` : "";
};
// the three parts stand together, whatever way to match they are of
const falseSaid = (known, ident) =>
  known
    ? h`Seen: ${seenSaid(known)}. Least flattering defensible rates, all kinds, with intervals by package: ${glue(known.lists.map((one) => listSaid(one, ident)), "; ")}; a longer list matches more. If every known picture, videos not counted, were found, half of all matches would be wrong at ${breakEvenSaid()}; a design that finds fewer gets there at a rarer error. No test here tells on which side reality lies.`
    : h`Not measured at scale. If every known picture, videos not counted, were found, half of all matches would be wrong at ${breakEvenSaid()}; a design that finds fewer gets there at a rarer error. No test here tells on which side reality lies.`;
const openedSaid_ = (made) => {
  const {held, at} = made,
    rate = held.ranges.false_rate?.value ?? breakEven() * (1 - held.made_up),
    [independent, bursts] = openedByChance({...at, rate}, now.sources.year.thresholds.bursts),
    there = yearOf(yearModel(now.sources.year.model), {...at, ...atEnds(held, ["value", "value", "value"]), false_rate: rate}).accounts_wrong;
  return h`<b>Accounts opened wrongly</b> in a year at ${oneIn(rate / (1 - held.made_up))}${held.ranges.false_rate ? "" : ", where half of all matches are wrong"}: ${some(independent)} if false matches are independent, ${some(there)} in series of ${at.series} and cascades, ${some(bursts)} with bursts of ${number(now.sources.year.thresholds.bursts.size)} in one account of ${number(1 / now.sources.year.thresholds.bursts.events)} and period: assumed, and nobody measured which.`;
};
const listLength = () => {
  const {entries: atStart, growth} = now.sources.year.list,
    source = ({source: words, provenance}) => h`${words} ${mark(provenance)}`;
  if (given("list")) return h`${some(yearList())} entries`;
  return h`${opens(place("year", "length"), `${some(yearList())} entries`, () =>
    evidence("Length of the year\u2019s list", [
      ["entries at its start", h`${number(atStart.value)}: ${source(atStart)}`],
      ["entries at its end over those", h`${number(growth.value)}: ${source(growth)}`],
      ["entries, the mean of the year", some(yearList())],
    ]),
  )} (the year\u2019s mean: ${number(atStart.value)} at its start, ${number(growth.value)} times as many at its end)`;
};
const yearPart = () => {
  if (given("files") > DAYS * given("volume")) return section("year", "What would a year bring?", para("Not computed: more known files than pictures."));
  const made = yearNow(),
    {held, at} = made,
    two_ = (one) => Number(one.toPrecision(2));
  const opened_ = (name) => () =>
    evidence(h`${SAID_OF[name]}: a year of ${some(at.accounts)} accounts, a list of ${some(yearList())} entries`, [
      ["what `population` calls it", h`<code>${name}</code>`],
      ["expected", expectedOf(made, name)],
      ["why", notKnown(made, name) ? "the false-match rate is not known; choose one above" : ""],
      ["behaviour", h`${held.name}: ${held.source}`],
      ["mix of edits", h`${mixSaid()}: ${now.sources.year.mix.source} ${mark(now.sources.year.mix.provenance)}`],
      ["chance", "95 % of years, at either end of what was measured, computed in place of 5\u202f000 drawn years"],
      ["inputs, too", `every input that was left alone and every measured figure drawn between its ends, ${JOINT} times`],
      ["command", h`<code>blindmatch population</code>`],
    ]);
  const cell = (name, words) => opens(place("year", name), words, opened_(name));
  const range = (name, bands) => (bands[name] ? cell(name, someTo(bands[name].map(bands === made.joint ? two_ : Number))) : notKnown(made, name) ? "" : absent("not computed here: `blindmatch population` has it"));
  const lines = [...YEARLY, ...CENTRAL]
    .filter((name) => name !== "held_by_threshold" || at.threshold > 1)
    .map((name) => [SAID_OF[name], cell(name, expectedOf(made, name)), range(name, made.bands), range(name, made.joint)]);
  const counts = behaviours().filter((one) => one.name !== "literature"),
    // designs stand in one row only if each number of it is theirs as it is shown
    fates = groupsBy(counts, (one) => Object.values(hundredOf(one)).map(fateSaid).join());
  return section(
    "year",
    "What would a year bring?",
    para(
      h`${optionLabel(held)}, against a list of ${listLength()}. <b>Wrong matches: ${unknownRate(made) ? "not known" : h`${oneIn(held.ranges.false_rate.value / (1 - held.made_up))}, ${given("errors") ? "as chosen" : "assumed"}`}.</b> ${falseSaid(held.false, "year")}${scaledTo(held.false)}`,
    ),
    at.threshold > 1 ? para(openedSaid_(made)) : "",
    table("A year at these settings", ["", "expected", "range, 95 %", "if inputs err, too"], lines, "short flat"),
    fold("hundred", "Of 100 known files sent, by assumed shares; the mix of edits", [
      table(
        "Of 100 known files sent, by assumed shares",
        ["designs", ...Object.keys(FATES).map((name) => now.sources.year.fates[name])],
        fates.map((same) => [named(same.map((one) => rowOf(one.name))), ...fatesOf(same[0])]),
        "short flat",
      ),
      para(h`Assumed: ${percent(at.video)} videos, ${percent(at.modified)} clients that never ask, and this mix of edits: ${mixSaid()}. ${foundSpan()}${madeUpSaid(counts)}`),
    ]),
  );
};
const fateSaid = (one) => (one > 0 && one < 0.1 ? "< 0.1" : tenths(one));
const fatesOf = (behaviour) => {
  const made = hundredOf(behaviour),
    how = (name) => () =>
      evidence(h`Of 100 known files sent, ${now.sources.year.fates[name]}: ${optionLabel(behaviour)}`, [
        ["figure", h`${number(made[name])} ${now.sources.year.hundred.unit}`],
        ["derivation", now.sources.year.hundred.derivation],
        ["command", h`<code>blindmatch population</code>, <code>of_100</code>`],
      ]);
  return Object.entries(made).map(([name, one]) => opens(place("hundred", behaviour.name, name), fateSaid(one), how(name)));
};
// why files of the same hashes stand with other numbers where some vouchers are made up
const madeUpSaid = (counts) =>
  counts.some((one) => one.made_up > 0)
    ? " In threshold designs some vouchers are made up and never count: their share of what the hash recognises stands there among edits not recognised."
    : "";
// what two assumed shares alone, of videos and of modified clients, make of `found`
const foundSpan = (brief) => {
  const lasting = ({name, threshold, ranges}) => ranges.unnoticed.value > 0 && name !== "literature" && threshold === 1,
    one = brief || behaviours().filter(lasting).sort((a, b) => b.ranges.recall.value - a.ranges.recall.value)[0];
  if (!one) return "";
  const {video, modified} = now.sources.year.ends,
    model = yearModel(now.sources.year.model),
    found = [[video.high, modified.high], [video.low, modified.low]].map(([video_, modified_]) => {
      const {held, at} = atSettings(one),
        made = countsOf(daysOf(model, {...at, ...atEnds(held, ["value", "value", "value"]), video: video_, modified: modified_}));
      return (100 * made.true_reports) / (at.accounts * at.files);
    });
  if (brief) return h` (two shares alone move the first to ${tenths(found[0])} or ${tenths(found[1])})`;
  return h`Moving these two shares alone, to ${percent(video.high)} and ${percent(modified.high)} or to ${percent(video.low)} and ${percent(modified.low)}, changes found in ${optionLabel(one)} from ${tenths(found[0])} to ${tenths(found[1])}.`;
};
// what a slider says, and whose behaviour can be chosen
const slideSaid = (one, value) => {
  if (!value && one.ident === "errors") return "not known";
  if (!value && one.ident === "list") return `this run\u2019s; the year\u2019s: ${some(now.sources.year.entries)}`;
  if (one.ident === "errors") return `one in ${some(1 / value)}`;
  return one.ident === "modified" ? percent(value) : some(value);
};
const behaviourOptions = () =>
  h`${behaviours().map((one, at) => h`<option value="${at}">${optionLabel(one)}</option>`)}`;
const optionLabel = (one) => {
  const row = now.run.rows.find((each) => each.id === one.name);
  return row && now.sources.names[one.name] ? `${optionIn(row)} ${now.sources.names[one.name]}` : one.name === "literature" ? "a perfect matcher, recalled error rate" : one.name;
};
