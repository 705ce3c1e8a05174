// Formulas are set by KaTeX, which comes from a content delivery network: without one their source is shown.
document$.subscribe(({ body }) => {
  window.renderMathInElement?.(body, {
    delimiters: [
      { left: "\\(", right: "\\)", display: false },
      { left: "\\[", right: "\\]", display: true },
    ],
  });
});
