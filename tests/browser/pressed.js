// Presses the button that measures this device, in a page that is as it was written, in a frame.
const frame = document.querySelector("iframe");
const faults = [];
const told = (good, what) => {
  if (!good) faults.push(what);
};
const inside = () => frame.contentWindow.document;
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (holds, seconds) => {
  for (const end = performance.now() + 1000 * seconds; !holds() && performance.now() < end; ) await wait(20);
  return Boolean(holds());
};
const panel = () => inside().getElementById("on-this-device");
const status = () => panel().querySelector("[role=status]").textContent;
const cells = () => [...panel().querySelectorAll("tbody tr")].map((row) => [...row.children].map((one) => one.textContent));
const press = async () => {
  told(await until(() => inside()?.getElementById("nav")?.children.length, 60), "the page is not drawn");
  frame.contentWindow.location.hash = "device";
  told(await until(() => panel()?.querySelector("button")?.checkVisibility(), 20), "there is no button");
  let violations = 0;
  inside().addEventListener("securitypolicyviolation", () => violations++);
  const before = cells();
  told(before.length > 1 && before.every((row) => row[3] === "not measured yet"), `before: ${JSON.stringify(before)}`);
  panel().querySelector("button").click();
  told(await until(() => status().startsWith("Measuring: "), 20), "it does not say that it measures");
  told(panel().querySelector("button").disabled, "the button can be pressed twice");
  told(await until(() => /^(Measured|Not measured)/.test(status()), 240), `no end: ${status()}`);
  told(status().startsWith("Measured. "), status());
  const after = cells();
  const isTime = (words) => /^[\d.]+ ms \([\d.]+ to [\d.]+ ms in \d+ repeats\)$/.test(words) && parseFloat(words) > 0;
  told(after.every((row) => isTime(row[3])), `after: ${JSON.stringify(after)}`);
  const field = inside().getElementById("in-volume");
  field.value = 1000;
  field.dispatchEvent(new frame.contentWindow.Event("input", {bubbles: true}));
  told(JSON.stringify(cells()) === JSON.stringify(after), "what was measured is lost when the page is drawn again");
  told(!panel().querySelector("button").disabled, "the button stays off");
  told(violations === 0, `${violations} violations of the page\u2019s policy`);
  return after.map((row) => `${row[0]}, ours ${row[2]}: ${row[3]}`);
};
addEventListener("DOMContentLoaded", async () => {
  const said = await press().catch((error) => (faults.push(`${error} ${error.stack}`), []));
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify({faults, said});
  document.body.append(place);
  await fetch("release").catch(() => null);
});
