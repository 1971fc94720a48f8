// Looks at a page in a frame and drives it: axe-core, widths, and what its controls do.
const frame = document.querySelector("iframe");
const asked = JSON.parse(document.getElementById("asked").textContent);
const faults = [];
const told = (good, what) => {
  if (!good && faults.length < 40) faults.push(what);
};
const inside = () => frame.contentWindow;
const by = (id) => inside().document.getElementById(id);
const all = (selector) => [...inside().document.querySelectorAll(selector)];

// turns of the event loop, since the browser's virtual time runs ahead of what it waits for
const turn = () =>
  new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });
const until = async (holds, most = 20000) => {
  for (let at = 0; !holds() && at < most; at++) await turn();
  return holds();
};

const tooWide = () => {
  const page = inside().document.documentElement;
  const over = page.scrollWidth - page.clientWidth;
  told(over <= 0, `the page is wider than its place by ${over} pixels`);
  for (const one of all("main > section, .card, .legend, .panel, .stage, .stack, .edits, .story, .abuser")) {
    const wide = one.scrollWidth - one.clientWidth;
    if (one.checkVisibility())
      told(wide <= 1, `${one.id || one.className} is wider than its place by ${wide} pixels`);
  }
  for (const one of all("svg.chart text")) {
    if (!one.checkVisibility()) continue;
    const place = one.ownerSVGElement.getBoundingClientRect();
    const own = one.getBoundingClientRect();
    const sides = Math.max(place.left - own.left, own.right - place.right);
    told(sides < 6, `"${one.textContent}" leaves its chart by ${Math.round(sides)} pixels`);
  }
};

const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] };
const withAxe = async () => {
  const script = inside().document.createElement("script");
  script.textContent = asked.axe;
  inside().document.head.append(script);
  const check = async (what) => {
    const found = await inside().axe.run(inside().document, RULES);
    for (const one of found.violations)
      told(false, `${what}: ${one.id} (${one.nodes.length}): ${one.nodes[0].html.slice(0, 200)}`);
    return found.passes.length;
  };
  tooWide();
  const passes = await check("as it opens");
  all("details").forEach((one, at) => (one.open = at % 5 === 0));
  all(".name")[3]?.click();
  tooWide();
  await check("a card and folds open");
  all("[data-evidence]")[0].click();
  told(by("evidence").open, "no evidence opens");
  await check("evidence open");
  return `${passes} rules passed`;
};

const text = (id) => by(id).textContent;
const move = (id, value) => {
  by(id).value = value;
  by(id).dispatchEvent(new (inside().Event)("input", { bubbles: true }));
};
const drive = async () => {
  let violations = 0;
  inside().document.addEventListener("securitypolicyviolation", () => violations++);
  const opened = all("a[data-evidence]").filter((one) => one.checkVisibility());
  for (const one of opened) {
    one.click();
    told(
      by("evidence").open && text("evidence-body").includes(one.dataset.evidence),
      `${one.dataset.evidence} opens nothing`,
    );
    by("evidence").close();
  }
  for (const id of all(".name").map((one) => one.id)) {
    by(id).click();
    told(by(id).getAttribute("aria-expanded") === "true", `${id} opens no card`);
  }
  by(all(".name")[0].id).focus();
  inside().document.activeElement.click();
  told(inside().document.activeElement?.id === all(".name")[0].id, "the focus is lost when a card opens");
  const before = text("hundred-heading");
  move("video", 20);
  told(
    text("hundred-heading") !== before && inside().location.hash.includes("video=20"),
    "the share of videos moves nothing",
  );
  told(text("video-says").startsWith("20"), "the slider does not say where it is");
  const says = text("flagged-says");
  move("rate", 3);
  told(text("flagged-says") !== says, "the rate moves nothing");
  told(by("rate").getAttribute("aria-valuetext").startsWith("one in"), "the rate's slider says its own number");
  const first = by("first");
  const versus = text("compare-body");
  first.value = first.options[3].value;
  first.dispatchEvent(new (inside().Event)("change", { bubbles: true }));
  told(
    text("compare-body") !== versus && by("first").value === first.options[3].value,
    "no other design is compared",
  );
  const table = text("designs-table");
  if (by("listed-0")) {
    by("listed-0").click();
    told(text("designs-table") !== table, "the table does not follow what is tried");
    by("edit-3").click();
    told(inside().document.activeElement !== null && by("edit-3").checked, "the edit is not chosen");
  }
  by("tab-0").focus();
  by("tab-0").dispatchEvent(new (inside().KeyboardEvent)("keydown", { key: "ArrowRight", bubbles: true }));
  told(by("tab-1").getAttribute("aria-selected") === "true", "tabs do not follow the keyboard");
  inside().location.hash = "hundred&video=30";
  told(
    await until(() => text("video-says").startsWith("30") && by("video").value === "30"),
    "the address is not followed",
  );
  inside().location.hash = "evidence:hundred%2Ftoken-psi%2Ffound";
  told(await until(() => by("evidence").open), "evidence has no address");
  by("evidence").close();
  inside().location.hash = "abuse&video=%E0&rate=-3&first=nothing";
  await turn();
  told(by("abuse") !== null, "a wrong address breaks the page");
  let saved = "";
  inside().HTMLAnchorElement.prototype.click = function () {
    saved = this.download ? this.href : saved;
  };
  for (const id of ["designs", "hundred", "costs"]) {
    saved = "";
    inside().document.querySelector(`[data-picture="${id}"]`).click();
    told(await until(() => saved.startsWith("data:image/png"), 400000), `${id} is not saved as a picture`);
  }
  told(violations === 0, `the page breaks its own policy ${violations} times`);
  try {
    by("foot").innerHTML = "<img src=x onerror=window.tainted=2>";
    told(false, "markup was made past the page's own policy");
  } catch (error) {
    told(String(error).includes("TrustedHTML"), String(error));
  }
  return `${opened.length} figures opened`;
};

// The sheet has no controls: its figures open their evidence, and its parts stand on it.
const sheetPage = () => {
  const opened = all("a[data-evidence]");
  for (const one of opened) {
    one.click();
    told(
      by("evidence").open && text("evidence-body").includes(one.dataset.evidence),
      `${one.dataset.evidence} opens nothing`,
    );
    by("evidence").close();
  }
  told(opened.length > 100, `only ${opened.length} figures stand on the sheet`);
  told(all("main > section").length === 5, "the sheet lacks a part");
  return `${opened.length} figures opened`;
};

const markedPage = async () => {
  for (const one of all("a[data-evidence]").filter((_, at) => at % 9 === 0)) {
    one.click();
    by("evidence").close();
  }
  for (const id of all(".name").map((one) => one.id)) by(id).click();
  if (by("video")) move("video", 20);
  await turn();
  const found = all("img[src=x], [onerror], main script").length;
  told(inside().tainted === undefined && !found, `text became markup: ${found} elements`);
  const marks = inside().document.body.textContent.split("<img src=x").length;
  told(marks > asked.marked, `only ${marks} marks are shown`);
  return `${marks} marks shown`;
};

addEventListener("load", async () => {
  let done = "";
  try {
    inside().addEventListener("error", (event) => faults.push(`error: ${event.message}`));
    inside().addEventListener("unhandledrejection", (event) => faults.push(`error: ${event.reason}`));
    told(await until(() => inside().document.body.dataset.ready === ""), "the page did not start to its end");
    if (asked.axe) done = await withAxe();
    if (asked.sheet) done = sheetPage();
    if (asked.drive) done = await drive();
    if (asked.marked) done = await markedPage();
  } catch (error) {
    faults.push(`${error} ${error.stack}`);
  }
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify({ faults, done });
  document.body.append(place);
});
