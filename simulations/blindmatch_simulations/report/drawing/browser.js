// The page itself: state in the address, evidence in a dialog, files that are dropped.
// #PLACE&name=value...: a place is a part, a fold or a number; names are the inputs, run and open folds. A step in the
// history is a place: what the reader chose stays, also on the way back; an address that is given is followed.
const start = () => {
  const by = (id) => document.getElementById(id),
    dialog = by("evidence"),
    form = by("scale");
  const data = JSON.parse(by("data").textContent);
  const bounds = Object.fromEntries(data.sources.inputs.map((one) => [one.ident, one]));
  const state = {
    run: 0,
    given: Object.fromEntries(data.sources.inputs.map((one) => [one.ident, one.value])),
    open: [],
    place: "",
    kept: "",
    sheet: false,
  };
  const OURS = {ours: true};
  const policy = window.trustedTypes?.createPolicy("page", {createHTML: (text) => text}) || {createHTML: (text) => text};

  const accepts = (one, value) => Number.isFinite(value) && value >= one.least && value <= one.most;
  const kept = () => {
    const changed = Object.entries(state.given).filter(([name, value]) => value !== bounds[name].value);
    const words = changed.concat(
      state.run ? [["run", state.run + 1]] : [],
      state.open.length ? [["open", state.open.join(",")]] : [],
      state.sheet ? [["sheet", 1]] : [],
    );
    return words.map(([name, value]) => `&${name}=${value}`).join("");
  };
  const read = () => {
    const [where, ...words] = location.hash.slice(1).split("&");
    const asked = Object.fromEntries(words.map((one) => one.split("=")));
    for (const one of data.sources.inputs) {
      const value = one.ident in asked ? Number(asked[one.ident]) : one.value;
      state.given[one.ident] = accepts(one, value) ? value : one.value;
    }
    state.run = Math.min(Math.max(0, (Number(asked.run) || 1) - 1), data.runs.length - 1);
    state.open = (asked.open || "").split(",").filter(Boolean);
    state.place = where;
    state.sheet = Boolean(asked.sheet);
    turn();
  };
  // the sheet is the first view and stands alone: its numbers open on it, every other place leads to the parts
  const turn = () => {
    const held = now ? now.evidence.has(state.place) : state.place.includes(".");
    state.sheet = ["", "sheet"].includes(state.place) || (state.sheet && held);
    document.body.className = state.sheet ? "sheet" : "";
  };
  const write = () => history.replaceState(OURS, "", `#${state.place}${(state.kept = kept())}`);
  const put = (id, html) => (by(id).innerHTML = policy.createHTML(markup(html)));
  const redraw = () => {
    state.kept = kept();
    const drawn = draw(data, state);
    for (const id of ["main", "nav", "foot"]) put(id, drawn[id]);
    device.show(by("on-this-device"), deviceRows(), deviceWords());
    settle();
  };
  const show = () => {
    const held = now.evidence.get(state.place),
      target = by(state.place);
    if (held) {
      put("evidence-body", held());
      if (!dialog.open) dialog.showModal();
    } else {
      if (dialog.open) dialog.close();
      for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
      if (target) target.scrollIntoView();
    }
  };
  // ---- sliders: logarithmic, or linear from 0; at the left end of one whose default is 0 stands that
  const slides = [...document.querySelectorAll("[data-of]")].map((slide) => ({slide, one: bounds[slide.dataset.of]}));
  const valueAt = ({slide, value: default_}, at) => {
    const [low, high] = slide;
    if (!default_ && !at) return 0;
    return Number((low ? low * (high / low) ** (at / 1000) : (high * at) / 1000).toPrecision(2));
  };
  const placeOn = ({slide: [low, high]}, value) =>
    Math.round(Math.min(1000, Math.max(0, value && (low ? (1000 * Math.log(value / low)) / Math.log(high / low) : (1000 * value) / high))));
  const settle = () => {
    for (const {slide, one} of slides) {
      const value = state.given[one.ident],
        words = slideSaid(one, value);
      if (valueAt(one, Number(slide.value)) !== value) slide.value = placeOn(one, value);
      slide.setAttribute("aria-valuetext", words);
      slide.nextElementSibling.textContent = words;
    }
    put("in-shown", behaviourOptions());
    by("in-shown").value = String(Math.min(state.given.design, by("in-shown").length - 1));
  };
  const fields = () => {
    put(
      "in-run",
      h`${data.runs.map((run, at) => h`<option value="${at}">${at + 1}: ${run.workload || run.command}, ${run.made_at}</option>`)}`,
    );
    form.elements.run.value = state.run;
    for (const [name, value] of Object.entries(state.given)) form.elements[name].value = value;
  };
  // from where an address was given, or from a step in our history
  const follow = (ours) => {
    const was = kept();
    if (ours) {
      state.place = location.hash.slice(1).split("&")[0];
      turn();
    } else read();
    fields();
    if (!now || kept() !== was) redraw();
    write();
    show();
  };
  const told = () => {
    const bad = data.sources.inputs.filter((one) => {
      const field = form.elements[one.ident],
        value = field.value === "" ? NaN : Number(field.value),
        wrong = !accepts(one, value);
      field.setAttribute("aria-invalid", wrong);
      if (!wrong) state.given[one.ident] = value;
      return wrong;
    });
    by("scale-says").textContent = bad
      .map((one) => `${one.label}: must be ${number(one.least)} to ${number(one.most)}`)
      .join("; ");
    if (bad.length) return;
    state.run = Number(form.elements.run.value);
    redraw();
    write();
  };

  // ---- files
  const digest = async (words) => {
    const empty = words.replace(/"digest": "[0-9a-f]{64}"/, '"digest": ""');
    const sum = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(empty));
    return [...new Uint8Array(sum)].map((one) => one.toString(16).padStart(2, "0")).join("");
  };
  const taken = async (words) => {
    const found = JSON.parse(words);
    const [format, version] = [data.runs[0].format, data.runs[0].version]; // those of this program
    if (found?.format !== format || found.version !== version) throw new Error(`no ${format} file of version ${version}`);
    checked(found, data.schema);
    if (found.digest && crypto.subtle && found.digest !== (await digest(words)))
      throw new Error("edited: its digest is not that of its content");
    const attacks = found.rows.filter((one) => one.kind.startsWith("attack")),
      rest = found.rows.some((one) => one.kind === "design" || one.kind === "study");
    const trial = {runs: rest ? [found] : data.runs, attacks, sources: data.sources, schema: data.schema};
    draw(trial, {...state, run: 0}); // what cannot be drawn, or opened, is refused whole
    for (const held of [...now.evidence.values()]) markup(held());
    if (rest) state.run = data.runs.push(found) - 1;
    else if (attacks.length) data.attacks = attacks;
    else throw new Error("no row of a design, a study or an attack");
    return found.digest ? "drawn" : "drawn; it has no digest, so that an edit would not be seen";
  };
  const take = async (files) => {
    const says = [];
    for (const file of files) {
      try {
        says.push(`${file.name}: ${await taken(await file.text())}`);
      } catch (error) {
        says.push(`${file.name}: refused: ${error.message}`);
      }
    }
    state.place = data.runs.length > 1 ? "runs" : state.place;
    fields();
    redraw();
    write();
    by("files-say").textContent = says.join("; ");
  };

  let waits = false;
  const slid = ({target}) => {
    if (target.id === "in-shown") form.elements.design.value = target.value;
    else form.elements[target.dataset.of].value = valueAt(bounds[target.dataset.of], Number(target.value));
    if (!waits) requestAnimationFrame(() => told((waits = false)));
    waits = true;
  };
  form.addEventListener("input", (event) => {
    if (event.target.type === "file") take([...event.target.files]);
    else if (event.target.type === "range" || event.target.id === "in-shown") slid(event);
    else told();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  by("lists").addEventListener("change", (event) => {
    form.elements.list.value = event.target.value;
    told();
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  document.addEventListener(
    "toggle",
    ({target}) => {
      if (target.tagName !== "DETAILS" || !target.id) return;
      state.open = state.open.filter((one) => one !== target.id).concat(target.open ? [target.id] : []);
      write();
    },
    true,
  );
  dialog.addEventListener("close", () => {
    if (!now.evidence.has(state.place)) return;
    const number_ = document.querySelector(`main a[href^="#${state.place}&"], main a[href="#${state.place}"]`);
    state.place = number_?.closest("section")?.id || "";
    write();
    if (number_) number_.focus({preventScroll: true});
  });
  addEventListener("click", ({target}) => {
    const link = target.closest?.("a");
    if (link?.id === "picture") link.href = URL.createObjectURL(new Blob([pictured(data, state)], {type: "image/svg+xml"}));
    else if (link) {
      link.setAttribute("href", `${link.hash.split("&")[0]}${kept()}`); // as it is now: folds may have been opened since it was drawn
      if (link.hash === location.hash) show();
    }
  });
  addEventListener("popstate", (event) => follow(Boolean(event.state?.ours)));
  try {
    data.runs.forEach((run) => checked(run, data.schema));
    follow(false);
  } catch (error) {
    by("main").textContent = `This results file cannot be drawn: ${error.message}`;
  }
};
if (typeof document !== "undefined") start();
