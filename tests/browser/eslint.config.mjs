// Rules for the page's script, which is linted as one file: `make lint-page`.
const BROWSER = [
  "document", "window", "location", "history", "addEventListener", "requestAnimationFrame", "matchMedia",
  "IntersectionObserver", "Image", "XMLSerializer",
];

export default [
  {
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "script",
      globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "error",
      "no-unused-vars": "error",
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "no-redeclare": "error",
      "no-dupe-keys": "error",
      "no-unreachable": "error",
      "no-fallthrough": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-unsafe-optional-chaining": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
    },
  },
];
