// Formulas are set by KaTeX, whose files are beside this one.
document$.subscribe(({ body }) => {
  window.renderMathInElement?.(body, {
    delimiters: [
      { left: "\\(", right: "\\)", display: false },
      { left: "\\[", right: "\\]", display: true },
    ],
  });
});
