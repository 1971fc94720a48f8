// The document: puts what is drawn, follows what the reader chooses, keeps it in the address.
//
// In:   the data in the page; clicks, keys, widths. Out: the document. No other module knows of it.
const start = () => {
  const by = (id) => document.getElementById(id);
  const view = JSON.parse(by("view").textContent);
  const tried = JSON.parse(by("tried").textContent);
  const c = contextOf(view, tried);
  const dialog = by("evidence");
  const trusted = window.trustedTypes?.createPolicy("page", { createHTML: (text) => text });

  const put = (element, markup) => {
    const text = textOf(h`${markup}`);
    element.innerHTML = trusted ? trusted.createHTML(text) : text;
  };

  const redraw = (ids) => {
    const focused = document.activeElement?.id;
    for (const id of ids) if (by(id)) put(by(id), LIVE[id](c));
    if (focused && document.activeElement?.id !== focused) by(focused)?.focus({ preventScroll: true });
    showTab();
  };

  // ---- the address: #place&name=value
  const KEPT = ["picture", "edit", "listed", "open", "first", "second", "video", "modified", "rate"];
  const begun = { ...c.state };
  const place = () => location.hash.slice(1).split("&")[0];
  const write = () => {
    const changed = KEPT.filter((name) => c.state[name] !== begun[name]);
    const words = changed.map((name) => `&${name}=${encodeURIComponent(c.state[name])}`).join("");
    history.replaceState(null, "", `#${place()}${words}`);
  };
  const limits = () => ({
    picture: [0, (tried?.pictures.length ?? 1) - 1],
    edit: [0, (tried?.edits.length ?? 1) - 1],
    listed: [0, 1],
    video: [0, 100],
    modified: [0, 100],
    rate: [0, 12],
    tab: [0, COST_CHARTS.length - 1],
  });
  const WHOLE = new Set(["picture", "edit", "listed", "tab"]);
  const isAccepted = (name, value) => {
    const [least, most] = limits()[name];
    return (
      Number.isFinite(value) && value >= least && value <= most && (!WHOLE.has(name) || Number.isInteger(value))
    );
  };
  const set = (name, value) => {
    if (!Object.hasOwn(limits(), name)) {
      if (value === "" || view.designs.some((card) => card.id === value)) c.state[name] = value;
    } else if (isAccepted(name, Number(value))) c.state[name] = Number(value);
  };
  // an address that cannot be read chooses nothing
  const decoded = (words) => {
    try {
      return decodeURIComponent(words);
    } catch {
      return "";
    }
  };
  const read = () => {
    for (const pair of location.hash.slice(1).split("&").slice(1)) {
      const [name, value = ""] = pair.split("=");
      if (KEPT.includes(name)) set(name, decoded(value));
    }
  };

  // ---- what the reader does
  const choose = (control, value) => {
    const name = control.dataset.set;
    set(name, "toggles" in control.dataset && c.state[name] === value ? "" : value);
    redraw((control.dataset.redraws ?? "").split(" ").filter((id) => Object.hasOwn(LIVE, id)));
    if (control.type === "range") nameSlider(control);
    write();
    if (control.dataset.go) by(control.dataset.go)?.scrollIntoView();
  };
  const openEvidence = (key) => {
    put(by("evidence-body"), evidenceCard(c, key));
    if (!dialog.open) dialog.showModal();
  };
  // a place is a part of the page, or evidence
  const goTo = (where, behavior = "auto") => {
    if (where.startsWith(EVIDENCE_PLACE)) openEvidence(decoded(where.slice(EVIDENCE_PLACE.length)));
    else if (dialog.open) dialog.close();
    openFold(where);
    by(where)?.scrollIntoView({ behavior });
  };
  const openFold = (id) => {
    for (let one = by(id); one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-evidence], button[data-set], [data-picture]");
    if (!target) return;
    if (target.dataset.evidence) {
      event.preventDefault();
      openEvidence(target.dataset.evidence);
    }
    if (target.dataset.picture) savePicture(by(target.dataset.picture), c);
    if (target.dataset.set) choose(target, target.dataset.value);
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches("input[data-set]")) choose(event.target, event.target.value);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-set]")) choose(event.target, event.target.value);
  });
  document.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || event.target.getAttribute("role") !== "tab") return;
    const tabs = [...event.target.parentElement.children];
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    const id = next.id;
    choose(next, next.dataset.value);
    by(id).focus();
  });

  const showTab = () => {
    for (const panel of document.querySelectorAll("[data-tab]")) {
      panel.classList.toggle("chosen", Number(panel.dataset.tab) === c.state.tab);
    }
    measure();
  };

  // ---- charts are as wide as their place
  const measure = () => {
    const changed = [];
    for (const one of document.querySelectorAll("[data-measured]")) {
      const width = Math.floor(one.clientWidth);
      if (width && c.state.widths[one.id] !== width) {
        c.state.widths[one.id] = width;
        changed.push(one.id);
      }
    }
    for (const id of changed) put(by(id), LIVE[id](c));
  };

  const followPlace = () => {
    const links = [...document.querySelectorAll("nav a")];
    const seen = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter((one) => one.isIntersecting)) {
          for (const link of links) {
            if (link.dataset.place === entry.target.id) link.setAttribute("aria-current", "true");
            else if (links.some((one) => one.dataset.place === entry.target.id))
              link.removeAttribute("aria-current");
          }
        }
      },
      { rootMargin: "-25% 0px -70% 0px" },
    );
    document.querySelectorAll("main > section").forEach((one) => seen.observe(one));
  };

  // a slider says what it stands for, not its number
  const nameSlider = (one) => {
    const says = by(`${one.dataset.set}-says`);
    if (says) one.setAttribute("aria-valuetext", says.textContent);
  };
  // controls that stand outside what is drawn again
  const settleControls = () => {
    for (const one of document.querySelectorAll("input[data-set]")) {
      const value = String(Number(c.state[one.dataset.set]));
      if (one.type === "radio") one.checked = one.value === value;
      else one.value = value;
    }
  };

  read();
  // the same script draws the findings page and the sheet
  const isSheet = document.body.classList.contains("sheet");
  put(by("main"), isSheet ? drawnSheet(c) : drawnMain(c));
  if (!isSheet) {
    put(by("nav"), drawnNav(c));
    put(by("foot"), drawnFoot(c));
  }
  document.querySelectorAll("input[type=range]").forEach(nameSlider);
  showTab();
  followPlace();
  addEventListener("resize", measure);
  addEventListener("hashchange", () => {
    read();
    settleControls();
    redraw(Object.keys(LIVE));
    document.querySelectorAll("input[type=range]").forEach(nameSlider);
    goTo(place());
    write();
  });
  if (place()) goTo(place(), "instant");
  document.body.dataset.ready = "";
};

// ---- a view as a picture: its markup and the page's styles within SVG, drawn on a canvas
const savePicture = async (section, c) => {
  const copy = section.cloneNode(true);
  for (const one of copy.querySelectorAll("details:not([open]), .source button, .source a, .choice, input"))
    one.remove();
  const { width, height } = section.getBoundingClientRect();
  const run = c.view.runs
    .map((one) => `Run of ${one.made_at.slice(0, 10)}, digest ${one.digest.slice(0, 16)}`)
    .join("; ");
  const holder = document.createElement("div");
  holder.setAttribute("class", "saved");
  const style = document.createElement("style");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  style.textContent = document
    .querySelector("style")
    .textContent.replaceAll("prefers-color-scheme: dark", dark ? "min-width: 0px" : "max-width: 0px");
  const line = document.createElement("p");
  line.textContent = `blindmatch. ${run}. Harmless pictures, no real list.`;
  holder.append(style, document.querySelector(".defs").cloneNode(true), copy, line);
  const page = new XMLSerializer().serializeToString(holder);
  const [across, down] = [Math.ceil(width) + 48, Math.ceil(height) + 100];
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="${across}" height="${down}"><foreignObject
width="100%" height="100%">${page}</foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = across * 2;
  canvas.height = down * 2;
  const brush = canvas.getContext("2d");
  brush.scale(2, 2);
  brush.drawImage(image, 0, 0);
  const link = document.createElement("a");
  link.href = canvas.toDataURL("image/png");
  link.download = `blindmatch-${section.id}.png`;
  link.click();
};

start();
