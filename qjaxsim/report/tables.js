// Sorts a table by the column whose head is pressed: upwards, downwards, as it was. The parts of a wide table go
// together, and what is missing comes last.
(() => {
  const missing = ["–", "nan", ""];
  const number = (text) => (/^-?inf/.test(text) ? Number(text.replace("inf", "Infinity")) : parseFloat(text));
  const compared = (one, other) => {
    const [a, b] = [number(one), number(other)];
    return a < b ? -1 : a > b ? 1 : one.localeCompare(other, "en", { numeric: true });
  };
  const sorted = (texts, direction) => {
    const places = [...texts.keys()];
    if (!direction) return places;
    const there = places.filter((place) => !missing.includes(texts[place]));
    there.sort((one, other) => direction * compared(texts[one], texts[other]));
    return [...there, ...places.filter((place) => missing.includes(texts[place]))];
  };

  for (const whole of document.querySelectorAll(".sortable")) {
    const parts = [...whole.querySelectorAll("tbody")].map((body) => ({ body, rows: [...body.rows] }));
    const heads = [...whole.querySelectorAll("th")];
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const direction = { ascending: -1, descending: 0 }[head.ariaSort] ?? 1;
        for (const one of heads) one.ariaSort = null;
        head.ariaSort = { 1: "ascending", "-1": "descending", 0: null }[direction];
        const { rows } = parts.find(({ body }) => body.parentElement === head.closest("table"));
        const order = sorted(rows.map((row) => row.cells[head.cellIndex].textContent.trim()), direction);
        for (const part of parts) part.body.append(...order.map((place) => part.rows[place]));
      });
    }
  }
  // On paper nothing is folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
