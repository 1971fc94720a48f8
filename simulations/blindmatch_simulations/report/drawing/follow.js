// One picture through recordings. `reduce` is the page's whole state: a pure function of a recording's steps, so that
// a live view can feed it the same steps as they come. Drawing is pure, too; `start` alone knows of a document.
const follow = (() => {
  // ---- state x event -> state
  const under = (all, name) => (Object.hasOwn(all, name) ? all[name] : undefined); // names are a recording's
  const EMPTY = Object.freeze({at: 0, have: {}, got: {}, noticed: [], last: null});
  // a fact of the picture has the step in which it was first seen of it, 0 if the picture is the party's own; its
  // values are then those of the picture, the last four
  const held = (have, names, facts, at, earlier) => {
    let own = under(have, names) || {};
    for (const [name, value] of facts) {
      const known = under(own, name), before = known && (earlier || known.since !== null) ? known.values : [];
      const values = [...before.filter((one) => one !== value), value].slice(-4);
      own = {...own, [name]: {values, since: known?.since ?? (earlier ? null : at)}};
    }
    return {...have, [names]: own};
  };
  const step = (state, event) => {
    const at = state.at + (event.before ? 0 : 1), sent = (under(state.got, event.target) || []).some((one) => !one.before && one.kind !== "upkeep");
    const beside = event.before ? !event.own : event.kind === "upkeep" && !sent; // nothing of the picture reached it yet
    const have = Object.entries(event.facts).reduce((all, [names, facts]) => held(all, names, facts, at, beside), state.have);
    const got = event.kind ? {...state.got, [event.target]: [...(under(state.got, event.target) || []), {...event, at}]} : state.got;
    return {at, have, got, noticed: [...state.noticed, ...event.notices.map(([who, what]) => ({who, what, at}))], last: event.before ? null : event};
  };
  const reduce = (events) => events.reduce(step, EMPTY);
  // the steps of a scene: what was before it, of no picture, with all that was noticed, and its own up to `at`
  const eventsOf = (run, scene, at) => [
    {source: "", target: "", kind: "", says: "", facts: {[scene.sender]: [["own", "it is the sender's"]]}, notices: [], before: true, own: true},
    ...run.steps.slice(0, scene.first).map((one) => ({...one, ...(one.lasting ? {} : {kind: "", facts: {}}), before: true})),
    ...run.steps.slice(scene.first, Math.min(scene.end, scene.first + at)),
  ];
  const stateOf = (run, scene, at) => reduce(eventsOf(run, scene, at));

  // ---- what parties have, alone or together: facts that were seen, then those that are only declared
  const OWN = {own: "the picture itself", outcome: "whether the picture is listed", received: "the picture itself"};
  const SEVERITIES = ["content", "hash", "outcome", "list", "account links", "sizes", "times"]; // before them what is not declared
  const kindOf = (run, party) => (run.parties.find(([name]) => name === party) || [])[1];
  const within = (names, parties) => names.every((one) => parties.includes(one));
  const declaredTo = (run, parties) => {
    const kinds = parties.map((one) => kindOf(run, one) || one), facts = new Map();
    for (const cheats of [false, true])
      for (const row of run.declared)
        if ((row.adversary === "malicious") === cheats && within(row.parties, kinds))
          for (const fact of row.facts) if (!facts.has(fact.name)) facts.set(fact.name, {...fact, cheats, by: row.parties});
    return facts;
  };
  const union = (run, state, parties) => {
    const declared = declaredTo(run, parties), seen = new Map();
    for (const [names, facts] of Object.entries(state.have))
      if (within(names.split("+"), parties))
        for (const [name, one] of Object.entries(facts)) {
          const other = seen.get(name);
          const [early, late] = !other || (one.since ?? Infinity) < (other.since ?? Infinity) ? [one, other] : [other, one];
          const both = late && (late.since !== null || early.since === null) ? late.values : [];
          seen.set(name, {...early, values: [...new Set([...early.values, ...both])]});
        }
    const known = [...seen].map(([name, one]) => ({
      name, ...one, severity: declared.get(name)?.severity, says: declared.get(name)?.says || under(OWN, name) || name, stray: !declared.has(name) && !under(OWN, name) && !name.startsWith("a person"),
    }));
    const order = (one) => SEVERITIES.indexOf(declared.get(one.name)?.severity);
    const sorted = (some) => some.sort((a, b) => order(a) - order(b));
    return {seen: sorted(known), unseen: sorted([...declared.values()].filter((one) => !seen.has(one.name)))};
  };

  // what parties have of the picture itself, by what reached them and by the declared facts that were seen
  const bears = (one, severity) => one.severity === severity && one.name !== "complaint"; // which is words alone
  const levelOf = (run, state, parties) => {
    const seen = union(run, state, parties).seen.filter((one) => one.since !== null), got = parties.flatMap((party) => under(state.got, party) || []).filter((one) => !one.before && (one.kind !== "picture" || kindOf(run, one.target) !== "device")); // a device fetches it later
    const any = (kind, severity) => got.some((one) => one.kind === kind) || seen.some((one) => bears(one, severity));
    if (any("picture", "content") || seen.some(({name}) => name === "own" || name === "received")) return "picture";
    if (any("plain hash", "hash")) return seen.some((one) => one.values.some((value) => /^[0-9a-f]{64}$/.test(value))) ? "hash" : "part";
    return ["blinded", "ciphertext"].find((kind) => any(kind)) || (seen.length ? "other" : "nothing");
  };
  const drawLevel = (run, state, parties) => {
    const level = levelOf(run, state, parties), declared = [...declaredTo(run, parties).values()], devices = parties.some((one) => kindOf(run, one) === "device");
    const lines = [["The picture", "content", ["picture"]], ["Its hash", "hash", ["hash", "part"]]].slice(0, level === "picture" ? 1 : 2);
    return h`<ul class="level">${lines.map(([what, severity, levels]) => {
      if (levels.includes(level)) return h`<li><b>${what}${level === "part" ? ", or a part of it" : ""}: got.</b></li>`;
      if (severity === "content" && level === "hash") return h`<li><b>${what}: a blurred likeness, which can be redrawn from its hash.</b></li>`;
      if (severity === "content" && level === "part") return h`<li><b>${what}: what this part of its hash tells of it.</b></li>`;
      const some = declared.filter((one) => bears(one, severity)).map((one) => one.says).join("; ");
      const none = some ? `The design declares, and nothing showed it so far: ${some}.` : devices ? "" : "In this recording nothing readable there shows it, and the design declares none.";
      return h`<li><b>${what}: ${some || devices ? "not so far" : "nothing of it that can be read"}.</b> ${none}</li>`;
    })}</ul>`;
  };

  // ---- words
  const an = (run, party) => (kindOf(run, party) === "device" ? `${party}'s device` : `the ${party.replace(/_/g, " ")}`);
  const joined = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0]);
  const upper = (words) => words.charAt(0).toUpperCase() + words.slice(1);
  const WORDS = {ciphertext: "ciphertext", blinded: "blinded", "plain hash": "plain hash", picture: "picture", upkeep: "nothing of it"}, HAS = {picture: "has the picture", hash: "blurred likeness", part: "its hash, or part", blinded: "blinded only", ciphertext: "sealed only", other: "not the picture", nothing: "nothing of it"};
  const classOf = (kind) => `k-${kind === "plain hash" ? "hash" : kind}`;
  // a shape each, so that no colour is needed
  const SHAPES = {
    ciphertext: h`<rect x="-13" y="-8" width="26" height="20" rx="3"/><path class="ring" d="M-7-8v-3a7 7 0 0 1 14 0v3h-4v-3a3 3 0 0 0-6 0v3z"/><path class="cut" d="M0 0v5"/>`,
    blinded: h`<path d="M0-16 16 0 0 16-16 0z"/><text class="ink" y="5">?</text>`,
    "plain hash": h`<path d="M-8-14H8L16 0 8 14H-8L-16 0z"/><text class="ink" y="5">#</text>`,
    picture: h`<rect x="-16" y="-12" width="32" height="24" rx="2"/><path class="cut" d="M-13 8-4-3 2 4 6 0 13 8M6-6h1"/>`,
    upkeep: h`<circle r="7"/>`,
  };
  const glyph = (kind) => h`<g class="mk ${classOf(kind)}">${SHAPES[kind] || SHAPES.upkeep}</g>`;

  // ---- the stage: places of the boxes, and the mark on its way
  const SIZES = {wide: [640, 250, 112, 46], narrow: [360, 270, 98, 46]};
  const placesOf = (run, narrow) => {
    const [w, hgt] = SIZES[narrow ? "narrow" : "wide"], names = run.parties.map(([name]) => name);
    const devices = run.parties.filter(([, kind]) => kind === "device").map(([name]) => name).reverse();
    const last = ["centre", "curator"], others = names.filter((name) => ![...devices, ...last, "provider"].includes(name));
    const rest = [...others, ...last.filter((name) => names.includes(name))];
    const rows = narrow && rest.length > 3 ? 2 : 1, perRow = Math.ceil(rest.length / rows);
    const places = new Map([["provider", [w / 2, 32]]]);
    devices.forEach((name, at) => places.set(name, [at ? w - 58 : 58, hgt / 2 - 12 + 54 * Math.max(0, at - 1)]));
    rest.forEach((name, at) => {
      const row = Math.floor(at / perRow), count = row ? rest.length - perRow : perRow, gap = Math.min(150, (w - 20) / count);
      places.set(name, [w / 2 + ((at % perRow) - (count - 1) / 2) * gap, hgt - 30 - (rows - 1 - row) * 62]);
    });
    return places;
  };
  const between = ([x0, y0], [x1, y1], part) => [Math.round(x0 + (x1 - x0) * part), Math.round(y0 + (y1 - y0) * part)];
  const drawRoute = (event, places, [w, hgt, box]) => {
    const from = places.get(event?.source), to = places.get(event?.target);
    if (!event?.kind || !from || !to) return ["", ""];
    const [x0, y0] = between(from, to, 0.22), [x, y] = between(from, to, 0.5), word = WORDS[event.kind] || event.kind;
    const room = Math.max(0, w / 2 - 64 - box / 2 - word.length * 4), dx = Math.round(w / 2 + Math.max(-room, Math.min(room, x - w / 2)) - x), dy = y > hgt / 2 ? -22 : 30; // between the boxes
    return [
      h`<line class="line${event.supposed ? " supposed" : ""}" x1="${from[0]}" y1="${from[1]}" x2="${to[0]}" y2="${to[1]}"/>`,
      h`<g class="mark" transform="translate(${x} ${y})" data-dx="${x0 - x}" data-dy="${y0 - y}"><g class="moves">${glyph(event.kind)}<text class="word ${classOf(event.kind)}" x="${dx}" y="${dy}">${word}</text></g></g>`,
    ];
  };
  const drawBox = (run, state, side, party, [x, y], chosen, [, , w, hgt]) => {
    const level = levelOf(run, state, [party]), has = HAS[level];
    return h`<g class="box${level === "nothing" ? "" : " has"}" role="button" tabindex="0" id="${side}-${party}" data-party="${party}" aria-pressed="${chosen.includes(party)}" aria-label="${an(run, party)}: ${has}" transform="translate(${Math.round(x)} ${Math.round(y)})"><rect x="${-w / 2}" y="${-hgt / 2}" width="${w}" height="${hgt}" rx="7"/><text y="-2">${party.length > 11 ? `${party.slice(0, 10)}…` : party.replace(/_/g, " ")}</text><text class="small" y="15">${has}</text></g>`;
  };
  const drawStage = (run, scene, view, side) => {
    const at = Math.min(view.at, scene.end - scene.first), state = stateOf(run, scene, at), places = placesOf(run, view.narrow);
    const sizes = SIZES[view.narrow ? "narrow" : "wide"], said = state.last?.says || `${scene.sender} is about to send the picture to somebody.`;
    const [line, mark] = drawRoute(state.last, places, sizes);
    const boxes = run.parties.filter(([party]) => places.has(party)).map(([party]) => drawBox(run, state, side, party, places.get(party), view.parties, sizes));
    return h`<section class="stage"><h2>${nameOf(run)} <span class="soft" title="${run.design}">the picture: ${scene.what}</span></h2><p class="soft sum">${METHODS.reduce((words, [name, said]) => words.replace(name, said), run.summary)}</p><svg viewBox="0 0 ${sizes[0]} ${sizes[1]}" role="group" aria-label="Parties of ${nameOf(run)}">${line}${boxes}${mark}</svg><p class="step"><b>Step ${at} of ${scene.end - scene.first}.</b> ${upper(said)} ${state.last?.supposed ? "Servers are not recorded: this is by the design's declaration." : ""}</p>${drawNoticed(run, scene, state, at)}</section>`;
  };
  const METHODS = [[/verifiable OPRF|V?OPRF/g, "blinded evaluation"], [/BFV/g, "homomorphic encryption"]];
  const nameOf = (run) => `${run.option} ${run.called || run.design}${run.attack ? `, attacked: ${run.attack.name}` : ""}`;
  const inWords = (what) => what.replace(/^\S+\/reply: field (\w+): /, "the answer's $1 ").replace(/^(\S+): field (\w+): /, "$2 of $1: ");
  const drawNoticed = (run, scene, state, at) => {
    if (!run.attack && !state.noticed.length) return "";
    const ended = at === scene.end - scene.first;
    const told = run.attack ? h`<p><b>The attack: ${run.attack.name}.</b> ${run.attack.does}</p>` : "";
    const who = state.noticed.map((one) => h`<p><b>Noticed by ${one.who}</b>, ${one.at ? `at step ${one.at}` : "before this picture"}, with: ${inWords(one.what)}${inWords(one.what) === one.what ? "" : h`</p><details><summary>As recorded</summary>${one.what}</details><p>`}</p>`);
    const nobody = h`<p>${ended ? "In this recording nobody noticed anything." : "Nobody has noticed anything so far."}</p>`;
    return h`<div class="told${state.noticed.length ? "" : " quiet"}">${told}${who.length ? who : nobody}</div>`;
  };

  // ---- a pane
  const drawFact = (one) =>
    h`<li class="${one.stray ? "stray" : "seen"}">${one.stray ? "not declared: " : ""}${one.says}: <b>${one.values.join("; ")}</b>${one.since ? h` <span class="soft">(step ${one.since})</span>` : ""}</li>`;
  const spaced = (hex) => hex.replace(/(.{8})/g, "$1 ").trim();
  const drawBytes = (run, state, parties, id, open) => {
    const all = parties.flatMap((party) => (under(state.got, party) || []).filter((one) => one.head).map((one) => ({...one, party})));
    if (!all.length) return "";
    const shown = all.slice(-4).reverse().map(
      (one) => h`<p>${one.before ? "Before" : `Step ${one.at}`}, ${WORDS[one.kind]}, ${bytes(one.size)}: ${upper(one.says)}</p><pre>${spaced(one.head)}${one.size > one.head.length / 2 ? " …" : ""}</pre>`,
    );
    return h`<details id="${id}"${open ? h` open=""` : ""}><summary>The bytes as ${joined(parties.map((one) => an(run, one)))} saw them (${all.length} message${all.length > 1 ? "s" : ""}, the last ${shown.length} here)</summary>${shown}</details>`;
  };
  const drawPane = (run, scene, view, side) => {
    const state = stateOf(run, scene, Math.min(view.at, scene.end - scene.first));
    const parties = view.parties.filter((one) => kindOf(run, one));
    if (!parties.length) return h`<section class="pane"><p>Choose a party: click its box, or tick its name.</p></section>`;
    const names = joined(parties.map((one) => an(run, one))), {seen, unseen} = union(run, state, parties), many = parties.length > 1;
    const of = seen.filter((one) => one.since !== null), earlier = seen.filter((one) => one.since === null);
    const facts = (title, some) => (some.length ? h`<h3>${title}</h3><ul>${some.map(drawFact)}</ul>` : "");
    const nothing = seen.length && !of.length ? h`<p class="none"><b>Nothing of this picture${view.at ? "" : " yet"}.</b></p>` : "";
    const empty = h`<p class="none"><b>Nothing.</b> In this recording nothing has reached ${names}${unseen.length ? " so far" : ", and nothing is declared to " + (many ? "them" : "it")}.</p>`;
    const grey = unseen.map((one) => h`<li class="unseen">${one.says}${one.cheats ? " (only if it cheats)" : ""}${one.by.length > 1 ? ` (${one.by.join(" with ")})` : ""}</li>`);
    return h`<section class="pane"><h2>${nameOf(run)}: ${names} ${many ? "have together" : "has"} now</h2>${seen.length ? nothing : empty}${drawLevel(run, state, parties)}${facts("Of this picture", of)}${facts("Beside it: keys, asking for messages, a text each way", earlier)}${grey.length ? h`<h3>Declared, and not seen here so far</h3><ul>${grey}</ul>` : ""}${drawBytes(run, state, parties, `bytes-${side}`, view.open.includes(`bytes-${side}`))}</section>`;
  };

  // ---- what is chosen
  const picturesOf = (runs) => [...new Map(runs.flatMap((run) => run.scenes.map((one) => [one.ident, one]))).values()];
  const sidesOf = (runs, view) => view.runs.map((at) => runs[at]).filter(Boolean).map((run) => [run, run.scenes.find((one) => one.ident === view.picture)]);
  const lengthOf = (runs, view) => Math.max(0, ...sidesOf(runs, view).map(([, scene]) => (scene ? scene.end - scene.first : 0)));
  const drawChosen = (runs, view) => {
    const pictures = picturesOf(runs).map(
      (one) => h`<label class="pic"><input type="radio" name="picture" id="of-${one.ident}" value="${one.ident}"${one.ident === view.picture ? h` checked=""` : ""}><img src="${one.picture}" alt="">${one.what}</label>`,
    );
    const options = (chosen, none) => [...runs.entries()].map(([at, run]) => h`<option value="${at}"${at === chosen ? h` selected=""` : ""}>${nameOf(run)}</option>`).concat(none ? [h`<option value="-1"${chosen === -1 ? h` selected=""` : ""}>nothing</option>`] : []);
    const beside = runs.length > 1 ? h`<p><label for="right">beside</label> <select id="right">${options(view.runs[1], true)}</select></p>` : "";
    return h`<fieldset><legend>Picture</legend>${pictures}</fieldset><p><label for="left">design</label> <select id="left">${options(view.runs[0], false)}</select></p>${beside}`;
  };
  const drawParties = (runs, view) => {
    const names = [...new Set(sidesOf(runs, view).flatMap(([run]) => run.parties.map(([name]) => name)))];
    return h`<legend>Look at, together</legend>${names.map((one) => h`<label><input type="checkbox" id="look-${one}" value="${one}"${view.parties.includes(one) ? h` checked=""` : ""}> ${one.replace(/_/g, " ")}</label>`)}`;
  };
  const drawFoot = (runs) => {
    const key = Object.keys(SHAPES).map((kind) => h`<li><svg viewBox="-18 -18 36 36" aria-hidden="true">${glyph(kind)}</svg>${WORDS[kind]}</li>`);
    const left = runs.flatMap((run) => run.left_out.map((one) => h`<li>${nameOf(run)}: ${one}</li>`));
    return h`<h2>Marks: what the party that gets a message can read of the picture</h2><ul class="key">${key}</ul>${left.length ? h`<p>Left out:</p><ul>${left}</ul>` : ""}<p class="soft">Recorded: ${runs.map((run) => `${nameOf(run)}, ${run.made_at}`).join("; ")}. Keys: left and right arrow step, space plays, Home and End.</p>`;
  };
  const draw = (runs, view) => {
    const sides = sidesOf(runs, view), none = (run) => h`<section class="stage"><h2>${nameOf(run)}</h2><p>This recording does not have the chosen picture.</p></section>`;
    const stages = sides.map(([run, scene], at) => (scene ? drawStage(run, scene, view, at ? "right" : "left") : none(run)));
    const panes = sides.map(([run, scene], at) => (scene ? drawPane(run, scene, view, at ? "right" : "left") : ""));
    return {chosen: drawChosen(runs, view), stages: h`${view.narrow ? stages.slice(0, 1) : stages}`, parties: drawParties(runs, view), panes: h`${view.narrow ? panes.flatMap((one, at) => [at ? stages[at] : "", one]) : panes}`, foot: drawFoot(runs)};
  };
  const opening = (runs) => ({runs: [0, runs.length > 1 ? 1 : -1], picture: picturesOf(runs)[0].ident, at: 0, parties: holdersOf(runs[0]), open: [], narrow: false});
  const holdersOf = (run) => {
    const holds = (run.attack?.holds || []).filter((one) => kindOf(run, one));
    return holds.length ? holds : ["provider"];
  };
  return {EMPTY, step, eventsOf, stateOf, union, lengthOf, draw, opening, holdersOf};
})();

const startFollowing = () => {
  const by = (id) => document.getElementById(id), runs = JSON.parse(by("data").textContent);
  const policy = window.trustedTypes?.createPolicy("page", {createHTML: (text) => text}) || {createHTML: (text) => text};
  const view = follow.opening(runs), still = matchMedia("(prefers-reduced-motion: reduce)"), small = matchMedia("(max-width: 34rem)");
  let playing = 0;
  const put = (id, html) => {
    const focused = document.activeElement?.id;
    by(id).innerHTML = policy.createHTML(markup(html));
    if (focused && by(id).querySelector(`[id="${CSS.escape(focused)}"]`)) by(focused).focus({preventScroll: true});
  };
  const most = () => follow.lengthOf(runs, view);
  const moving = () => {
    if (still.matches) return;
    for (const one of document.querySelectorAll(".mark"))
      one.firstElementChild.animate(
        [{transform: `translate(${one.dataset.dx}px, ${one.dataset.dy}px)`}, {transform: "none"}],
        {duration: 700, easing: "ease-out"},
      );
  };
  const whole = ["chosen", "stages", "parties", "panes", "foot"];
  const redraw = (ids = ["stages", "panes"]) => {
    view.narrow = small.matches;
    const drawn = follow.draw(runs, view);
    for (const id of ids) put(id, drawn[id]);
    by("at").max = most();
    by("at").value = view.at;
    by("where").textContent = `${view.at} of ${most()}`;
    by("start").disabled = by("back").disabled = view.at === 0;
    by("next").disabled = by("end").disabled = view.at >= most();
    by("play").textContent = playing ? "Pause" : "Play";
    by("says").textContent = [...document.querySelectorAll(".step")].map((one) => one.textContent).join(" ");
  };
  const pause = () => {
    clearInterval(playing);
    playing = 0;
  };
  const go = (at) => {
    const before = view.at;
    view.at = Math.max(0, Math.min(most(), at));
    if (view.at >= most()) pause();
    redraw();
    if (view.at > before) moving();
  };
  const play = () => {
    if (playing) pause();
    else {
      if (view.at >= most()) view.at = 0;
      playing = setInterval(() => go(view.at + 1), 2200);
    }
    go(playing ? view.at + 1 : view.at);
  };
  const choose = (parties) => {
    view.parties = parties;
    redraw(["stages", "panes", "parties"]);
  };
  for (const [id, act] of [["start", () => go(0)], ["back", () => go(view.at - 1)], ["play", play], ["next", () => go(view.at + 1)], ["end", () => go(most())]])
    by(id).addEventListener("click", () => {
      if (id !== "play") pause();
      act();
    });
  by("at").addEventListener("input", () => {
    pause();
    go(Number(by("at").value));
  });
  const boxed = (event) => event.target.closest?.(".box");
  by("main").addEventListener("click", (event) => boxed(event) && choose([boxed(event).dataset.party]));
  by("parties").addEventListener("change", () => choose([...by("parties").querySelectorAll(":checked")].map((one) => one.value)));
  by("chosen").addEventListener("submit", (event) => event.preventDefault());
  by("chosen").addEventListener("change", ({target}) => {
    pause();
    if (target.name === "picture") view.picture = target.value;
    else view.runs[target.id === "left" ? 0 : 1] = Number(target.value);
    if (target.id === "left") view.parties = follow.holdersOf(runs[view.runs[0]]);
    view.at = Math.min(view.at, most());
    redraw(whole);
  });
  by("panes").addEventListener(
    "toggle",
    ({target}) => {
      view.open = view.open.filter((one) => one !== target.id).concat(target.open ? [target.id] : []);
    },
    true,
  );
  addEventListener("keydown", (event) => {
    const box = boxed(event), {key} = event;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (box && (key === "Enter" || key === " ")) choose([box.dataset.party]);
    else if (event.target.matches?.("input, select, button, summary")) return;
    else if (key === " ") play();
    else if (["ArrowRight", "ArrowLeft", "Home", "End"].includes(key)) {
      pause();
      go({ArrowRight: view.at + 1, ArrowLeft: view.at - 1, Home: 0, End: most()}[key]);
    } else return;
    event.preventDefault();
  });
  small.addEventListener("change", () => redraw());
  redraw(whole);
};
if (typeof document !== "undefined") startFollowing();
