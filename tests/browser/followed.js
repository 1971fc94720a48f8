// Drives the page that follows a picture, and tells its parent what is wrong (check_follow.py).
window.errors = [];
onerror = (words) => errors.push(String(words));
addEventListener("load", async () => {
  const by = (id) => document.getElementById(id), wrong = [], told = (good, what) => good || wrong.push(what);
  const key = (name, on = document.body) => on.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
  const where = () => by("where").textContent, panes = () => by("panes").innerHTML;
  const rules = {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]};
  const violations = [];
  const look = async (when) => {
    const found = await axe.run(document, rules);
    violations.push(...found.violations.map((one) => [when, one.id, one.nodes[0].html.slice(0, 160)]));
    const page = document.documentElement;
    told(page.scrollWidth <= page.clientWidth, `${when}: the page is wider than its window`);
    for (const one of document.querySelectorAll(".pane, .stage, #transport, #chosen, .told"))
      told(one.scrollWidth <= one.clientWidth + 1, `${when}: ${one.className || one.id} is too wide`);
  };
  if (!window.marked) {
    told(document.querySelectorAll(".box").length === (window.boxes ?? 12), "not all parties are drawn");
    await look("begin");
    const first = panes();
    key("ArrowRight");
    told(where().startsWith("1 ") && document.querySelector(".mark"), `no step: ${where()}`);
    const second = panes();
    key("ArrowRight");
    key("ArrowLeft");
    told(panes() === second && second !== first, "a step back is another page");
    key("ArrowLeft");
    told(panes() === first, "the first step back is another page");
    key("End");
    told(by("next").disabled && document.body.innerText.includes("Noticed by"), "nobody noticed");
    await look("end");
    const box = by("left-curator");
    box.focus();
    key("Enter", box);
    told(panes().includes("Nothing.") && document.activeElement?.id === "left-curator", "a box is not chosen by key");
    key("Home");
    key(" ");
    told(by("play").textContent === "Pause" && where().startsWith("1 "), "space does not play");
    key(" ");
    told(by("play").textContent === "Play", "space does not pause");
    by("look-provider").click();
    told(panes().includes("have together"), "no coalition");
    document.querySelectorAll("details").forEach((one) => (one.open = true));
    await look("opened");
    const focusable = [...document.querySelectorAll("button:not(:disabled), select, input, summary, [tabindex='0']")];
    told(focusable.every((one) => one.tabIndex >= 0), "something cannot be reached by key");
  }
  const place = parent.document.createElement("pre");
  place.id = "told";
  const dark = matchMedia("(prefers-color-scheme: dark)").matches, words = document.body.innerText.split(/\s+/).length;
  place.textContent = JSON.stringify({violations, wrong, errors, dark, words, width: innerWidth, tainted: !!parent.tainted});
  parent.document.body.append(place);
});
