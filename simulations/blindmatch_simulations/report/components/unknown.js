// What nobody has measured; assumptions; the law and the options of the expert process.
//
// In:   `view.unmeasured`, `view.assumptions`, `view.law`, `view.options`.
// Out:  two sections.
const unmeasuredSection = (c) => {
  const assumed = c.view.assumptions.map((one) => [
    told(one.holds),
    told(one.concerns),
    told(one.breaks),
    told(one.covered),
  ]);
  const missing = c.view.designs.filter((card) => card.missing.length);
  return frame(c, {
    id: "unmeasured",
    title: "What nobody has measured, and what all of this rests on",
    note: h`These are gaps of this test, not of one design. What is missing of one design alone stands on its card
and in the table behind this view.`,
    body: h`<ul class="gaps">${c.view.unmeasured.map((one) => h`<li>${told(withoutBrackets(one))}</li>`)}</ul>
<h3 class="big">Assumptions, and whether a test covers them</h3>
${table("Assumptions", ["It is assumed that", "It concerns", "If it is wrong", "Covered by a test?"], assumed)}`,
    table: missing.length
      ? table(
          "Not measured of single designs",
          ["Design", "Not measured"],
          missing.map((card) => [card.title, h`<ul>${card.missing.map((one) => h`<li>${told(one)}</li>`)}</ul>`]),
        )
      : "",
    source: "the testbed\u2019s own list of gaps and of assumptions.",
  });
};

const termsSection = (c) => {
  const terms = Object.entries(c.view.terms).sort(([one], [other]) => one.localeCompare(other));
  if (!terms.length) return "";
  return frame(c, {
    id: "terms",
    title: "Words of this page",
    body: h`<dl class="terms">${terms.map(
      ([term, words]) => h`<dt>${named("words", term)}</dt><dd>${told(withoutBrackets(words))}</dd>`,
    )}</dl>`,
    source: "the testbed\u2019s own list of terms.",
    level: 3,
    runs: [],
  });
};

const optionsSection = (c) => {
  const rows = c.view.options.map((one) => [
    named("option", one.id),
    told(one.name),
    told(one.provenance),
    one.designs.length ? joined(titlesOf(c, one.designs), "; ") : stateMark("not run"),
  ]);
  return frame(c, {
    id: "law",
    title: "The law, and the options of the expert process",
    note: named("law", c.view.law),
    body: table(
      "The options",
      ["Option", "Its name", "How sure the wording is", "Designs here that stand for it"],
      rows,
    ),
    source:
      "the testbed\u2019s catalogue; \u201crecalled\u201d means that the wording was not checked against the document.",
    level: 3,
  });
};
