// If you are wrongly reported: a path in steps, and whether you can show that your list was everybody's.
//
// In:   `view.steps`, and what cards say of one list for all.
// Out:  the section.
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
  const able = c.view.designs.filter((card) => card.one_list.startsWith("Can be shown"));
  const listed = c.view.designs.filter((card) => card.one_list !== "There is no list.");
  if (!listed.length) return "If you are wrongly reported";
  return h`If you are wrongly reported: with ${counted(able.length)} of ${counted(listed.length)} designs that
have a list, it can be shown
from outside that yours was everybody\u2019s, if independent witnesses exist`;
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
    note: `These are the steps of the reporting centre of this testbed. How people decide, how often they err
and how long it takes was
not measured.`,
    body: c.view.steps.length
      ? h`<ol class="path">${c.view.steps.map(stepOf)}</ol>`
      : h`<p class="absent">${stateMark("not run")} The steps are not in this file.</p>`,
    table: oneListTable(c),
    source: h`the testbed\u2019s reporting centre, played with simulated dates and given decisions; for each
design its
public log.`,
  });
