// If you are wrongly reported: a path in steps, what of a report can be checked by whom, and whether you can show
// that your list was everybody's.
//
// In:   `view.steps`, `view.provable`, and what cards say of one list for all.
// Out:  the section.
const ANYBODY = "anybody";
const isForAnybody = (provable) => provable.by.startsWith(ANYBODY);

const stepOf = (step) => {
  const words = withoutBrackets(step.does);
  const unknown = step.not_measured ? h`<p class="soft">${told(withoutBrackets(step.not_measured))}</p>` : "";
  const attacks = step.attacks.length
    ? h`<details><summary>attacks that were played on this
step</summary><p>${told(step.attacks.join("; "))}.</p></details>`
    : "";
  return h`<li><b>${told(step.who)}</b><p>${told(words)}</p>${unknown}${attacks}</li>`;
};

const reportedTitle = (c) => {
  const { provable } = c.view;
  if (!provable.length) return "If you are wrongly reported";
  return h`If you are wrongly reported: of ${counted(provable.length)} things that matter in a report, anybody can check
${counted(provable.filter(isForAnybody).length)}, and how often people err was not measured`;
};

const provableTable = (c) =>
  c.view.provable.length
    ? h`<h3 class="big">What can be shown about a report, and who can check it</h3>${table(
        "What can be shown about a report",
        ["That it is so", "Who can check it"],
        c.view.provable.map((one) => [told(one.claim), told(capital(one.by))]),
      )}`
    : "";

// With how many designs it can be shown that your list was everybody's.
const oneListWords = (c) => {
  const able = c.view.designs.filter((card) => card.one_list.startsWith("Can be shown"));
  const listed = c.view.designs.filter((card) => card.one_list !== "There is no list.");
  if (!listed.length) return "";
  return h`<p>With ${counted(able.length)} of ${counted(listed.length)} designs that have a list, it can be shown from
outside that yours was everybody\u2019s, if independent witnesses exist.</p>`;
};

const oneListTable = (c) => {
  const groups = new Map();
  for (const card of c.view.designs) groups.set(card.one_list, [...(groups.get(card.one_list) ?? []), card.title]);
  return table(
    "Can it be shown that all phones got one list?",
    ["Answer", "Designs"],
    [...groups].map(([words, titles]) => [told(words), told(titles.join("; "))]),
  );
};

const reportedSection = (c) =>
  frame(c, {
    id: "reported",
    title: reportedTitle(c),
    note: `These are the steps of the reporting centre of this testbed. How people decide, how often they err and how
long it takes was not measured.`,
    body: h`${
      c.view.steps.length
        ? h`<ol class="path">${c.view.steps.map(stepOf)}</ol>`
        : h`<p class="absent">${stateMark("not run")} The steps are not in this file.</p>`
    }${provableTable(c)}${oneListWords(c)}`,
    table: oneListTable(c),
    source: h`the testbed\u2019s reporting centre, played with simulated dates and given decisions; for each
design its public log.`,
  });
