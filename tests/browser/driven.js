// Drives a page that is as it was written, in a frame: clicks every link, goes back, hands it marked files.
const frame = document.querySelector("iframe"), asked = JSON.parse(document.getElementById("asked").textContent);
const turn = () => new Promise((resolve) => {
  const channel = new MessageChannel();
  channel.port1.onmessage = resolve;
  channel.port2.postMessage(0);
});
const until = async (holds, most = 2000) => {
  for (let at = 0; !holds() && at < most; at++) await turn();
  return holds();
};
const faults = [], told = (good, what) => { if (!good && faults.length < 40) faults.push(what); };
const inside = () => frame.contentWindow, by = (id) => inside().document.getElementById(id);
const placeOf = (link) => link.getAttribute("href").slice(1).split("&")[0];
const here = () => inside().location.hash.slice(1).split("&")[0];
const isShown = (place) => {
  if (here() !== place) return false;
  if (by("evidence").open) return by("evidence-body").textContent.length > 10;
  const target = by(place);
  return Boolean(target) && (place === "" || [...target.children].some((one) => one.checkVisibility()) || target.checkVisibility());
};
const close = async () => {
  by("evidence").close();
  await until(() => !by("evidence").open);
};
const everyLink = async () => {
  const done = new Set(), links = (within = "body") =>
    [...inside().document.querySelectorAll(`${within} a[href^="#"]:not([download])`)].filter((one) => placeOf(one) !== "sheet");
  const click = async (link) => {
    const place = placeOf(link);
    done.add(place);
    link.click();
    told(await until(() => isShown(place)), `${place} opens nothing`);
    if (!by("evidence").open) return;
    for (const next of [...by("evidence-body").querySelectorAll("a")].filter((one) => !done.has(placeOf(one)))) {
      done.add(placeOf(next));
      next.click();
      told(await until(() => isShown(placeOf(next))), `${placeOf(next)}, opened from ${place}, opens nothing`);
    }
    await close();
  };
  inside().location.hash = "matrix"; // the sheet, the first view, comes last
  await until(() => by("matrix"));
  const count = links().length;
  for (const link of links()) if (!done.has(placeOf(link))) await click(link);
  for (const place of [...done].filter((_, at) => at % 40 === 0)) {
    inside().location.hash = place;
    told(await until(() => isShown(place)), `the address ${place} opens nothing`);
    if (by("evidence").open) await close();
  }
  const clicked = done.size;
  inside().document.querySelector('a[href^="#sheet"]').click();
  told(await until(() => isShown("sheet") && !by("matrix")), "the sheet does not stand alone");
  const numbers = links("#sheet").filter((one) => one.className === "n");
  for (const link of numbers) await click(link);
  told(by("sheet") && !by("matrix"), "a number leads away from the sheet");
  inside().document.querySelector('nav a[href^="#missed"]').click();
  told(await until(() => isShown("missed") && !by("sheet")), "no way back from the sheet");
  return [count + numbers.length, clicked + numbers.length];
};
const back = async () => {
  const field = by("in-volume"), choose = (value) => {
    field.value = value;
    field.dispatchEvent(new (inside().Event)("input", {bubbles: true}));
  };
  const [one, other] = ["missed", "flagged"];
  inside().document.querySelector(`nav a[href^="#${one}"]`).click();
  await until(() => here() === one);
  choose(1000);
  by("missed-tables").open = true;
  await until(() => inside().location.hash.includes("missed-tables"));
  inside().document.querySelector(`nav a[href^="#${other}"]`).click();
  await until(() => here() === other);
  told(by("missed-tables").open, "a click on a link closes what was opened");
  choose(2000);
  inside().history.back();
  told(await until(() => here() === one), "going back leads nowhere");
  told(Number(by("in-volume").value) === 2000 && inside().location.hash.includes("volume=2000"), "going back loses a change");
  told(by("missed-tables").open, "going back closes what was opened");
  inside().history.forward();
  told(await until(() => here() === other), "going forward leads nowhere");
  told(Number(by("in-volume").value) === 2000, "going forward loses a change");
  inside().location.hash = "missed";
  told(await until(() => Number(by("in-volume").value) > 1e6), "an address that is given is not followed");
};
const drop = async ([name, text]) => {
  const list = new DataTransfer();
  list.items.add(new (inside().File)([text], `${name}.json`));
  by("files-say").textContent = "";
  by("in-files").files = list.files;
  by("in-files").dispatchEvent(new (inside().Event)("input", {bubbles: true}));
  await until(() => by("files-say").textContent);
  const said = by("files-say").textContent;
  return said.slice(said.indexOf(": ") + 2);
};
const files = async () => {
  for (const [name, text, expected] of asked.files) {
    const said = await drop([name, text]);
    told(said.startsWith(expected), `${name}: ${said}, not ${expected}`);
  }
};
// what would run if something came through unescaped
const guarded = async () => {
  let seen = 0;
  const doc = inside().document;
  doc.addEventListener("securitypolicyviolation", () => seen++);
  try {
    doc.getElementById("foot").innerHTML = "<img src=x onerror=window.tainted=2>";
    told(false, "HTML was made past the page's own policy");
  } catch (error) {
    told(String(error).includes("TrustedHTML"), String(error));
  }
  const image = document.createElement("img");
  image.setAttribute("onerror", "window.tainted=3");
  image.src = "x:";
  doc.body.append(doc.adoptNode(image));
  await until(() => seen > 1, 20000);
  told(seen > 1, "the policy blocks no script of an attribute");
};
addEventListener("load", async () => {
  let links = [0, 0];
  try {
    await until(() => by("nav")?.children.length || by("main").textContent.includes("cannot be drawn"));
    if (asked.refused) told(by("main").textContent.includes(asked.refused), by("main").textContent.slice(0, 200));
    if (asked.links) links = await everyLink();
    if (asked.back) await back();
    await files();
    if (asked.guarded) await guarded();
  } catch (error) {
    faults.push(`${error} ${error.stack}`);
  }
  const tainted = inside().tainted ?? null, marked = [...inside().document.querySelectorAll("[onerror]:not([src='x:']), img[src=x]")].length;
  told(tainted === null && !marked, `script of a mark ran: ${tainted}, ${marked} elements`);
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify({faults, links});
  document.body.append(place);
});
