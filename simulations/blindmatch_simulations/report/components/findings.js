// The question and the findings that open the page.
//
// In:   `view.findings`, whose sentences name evidence for each number.
// Out:  the first section; how figures and states are marked.
const QUESTION = "Can known abuse pictures be found in encrypted chats without anybody reading the chats?";

const leadWords = (c) => {
  const count = c.view.designs.length;
  if (!count) return "This run has no design that could be measured.";
  const options = c.view.options.filter((one) => one.designs.length).length;
  const whole = options === c.view.options.length && options > 0;
  const of = whole
    ? h`all ${counted(options)} options`
    : h`${counted(options)} of ${counted(c.view.options.length)} options`;
  const imitated = c.view.designs.filter((card) => card.stand_in).length;
  const stands = imitated
    ? h`; ${counted(imitated)} of them ${imitated === 1 ? "is a stand-in that differs" : "are stand-ins that differ"}
from the option`
    : "";
  return h`${capital(countWords(count))} ${count === 1 ? "design stands" : "designs stand"} for
${of} of the EU expert process${stands}. They ran on harmless pictures; where one ran on fewer than the others, or on
none, its card says so. This page shows what each finds, what every party then holds, what it costs, and how it can be
misused.`;
};

const findingOf = (c, finding) =>
  h`<div class="finding"><h2>${finding.title}</h2>${finding.says.map(
    (parts) => h`<p>${sentence(c, parts)}</p>`,
  )}</div>`;

const EXAMPLES = [
  ["measured", "n state-measured"],
  ["calculated", "n state-calculated"],
  ["assumed", "n state-assumed"],
  ["claimed by others", "n state-claimed"],
];
const ABSENT = ["not measured", "not run", "failed", "does not apply"];

const absentWords = () =>
  h`Where there is no figure, the page says why: ${joined(
    ABSENT.map(
      (state) => h`<span>${stateMark(state)} ${EVIDENCE_STATES[state].toLowerCase().replace(/\.$/, "")}</span>`,
    ),
    " \u00b7 ",
  )}. None of these means zero, which is written as ${named("count", "0")}.`;

const readingHelp =
  () => h`<div class="key"><p>Every underlined figure opens what it stands on, and its line says how it is
known: ${joined(EXAMPLES.map(([word, kind]) => h`<span class="${kind}">${word}</span>`))}.</p>
<p>${absentWords()}</p></div>`;

const findingsSection = (c) => h`<section class="view first" id="findings" aria-labelledby="question">
<h1 id="question">${QUESTION}</h1>
<p class="lead">${leadWords(c)}</p>
<div class="findings">${c.view.findings.map((one) => findingOf(c, one))}</div>
${readingHelp()}
<p class="note">The pictures are harmless, there is no real list, and one computer stood for phones and data
centres. The
page ranks nothing: designs stand in the order of the expert process.</p></section>`;
