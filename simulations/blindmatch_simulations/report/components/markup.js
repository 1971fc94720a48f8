"use strict";
// Markup as text that is escaped by construction.
//
// In:   values of any kind, within templates tagged `h`; arrays stand part after part.
// Out:  objects that only `h` makes; `textOf` gives their text and refuses everything else.
const [h, textOf] = (() => {
  const made = new WeakSet();

  const escaped = (value) => String(value ?? "").replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

  const partOf = (value) => {
    if (Array.isArray(value)) return value.map(partOf).join("");
    return made.has(value) ? value.text : escaped(value);
  };

  const tag = (strings, ...values) => {
    if (!Array.isArray(strings?.raw) || !Object.isFrozen(strings)) throw new Error("markup comes from templates");
    const text = strings.map((words, at) => words + (at < values.length ? partOf(values[at]) : "")).join("");
    const markup = Object.freeze({ text, toString: () => text });
    made.add(markup);
    return markup;
  };

  const text = (markup) => {
    if (!made.has(markup)) throw new Error("not made by h");
    return markup.text;
  };
  return [tag, text];
})();

// An attribute that stands only where it holds.
const flag = (name, holds) => (holds ? h` ${name}=""` : "");

// Parts with something between them; nothing of none.
const joined = (parts, between = ", ") => parts.map((part, at) => (at ? h`${between}${part}` : h`${part}`));

// Digits that are no figures, with the reason why they need no evidence: a test knows all reasons.
const named = (reason, words) => h`<span data-digits="${reason}">${words}</span>`;

// A field of an object by a name that came with the data; undefined where there is none.
const fieldOf = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);

// A name that came with the data, as an id of an element.
const idOf = (...parts) =>
  parts.map((part) => String(part).replace(/[^A-Za-z0-9-]/g, (sign) => `_${sign.charCodeAt(0)}`)).join("-");
