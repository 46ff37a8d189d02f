// Draws the figures of a report when they come into view, in the colours of the page. Where anything is missing that it
// needs, the pictures stay.
(async () => {
  if (!("DecompressionStream" in window) || !("IntersectionObserver" in window)) return;

  const unpacked = (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const library = document.createElement("script");
  library.textContent = await unpacked("plotly");
  document.head.append(library);
  const figures = JSON.parse(await unpacked("figures"));

  // Colours named after the style's variables follow light and dark.
  const named = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const coloured = (value) => {
    if (typeof value === "string") return value.startsWith("var(--") ? named(value.slice(6, -1)) : value;
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one)]));
  };
  const axis = (given) => ({
    gridcolor: named("line"), linecolor: named("soft"), zerolinecolor: named("line"), ticks: "outside",
    tickcolor: named("soft"), showline: true, ...given, tickfont: { size: 11 },
  });
  const layout = (panel) => {
    const own = coloured(panel.layout);
    for (const name of ["xaxis", "yaxis"]) if (own[name]) own[name] = axis(own[name]);
    if (own.scene) for (const name of ["xaxis", "yaxis", "zaxis"]) own.scene[name] = axis(own.scene[name]);
    // On a phone a scene needs more room around it for the names of its axes.
    if (own.scene && innerWidth < 640) for (const along of ["x", "y", "z"]) own.scene.camera.eye[along] *= 1.25;
    return {
      uirevision: "what the reader has zoomed and turned stays",
      margin: { l: 8, r: 16, t: 8, b: 8, pad: 0 }, height: panel.height, autosize: true, showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", bargap: 0,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: named("ink") },
      hoverlabel: { bgcolor: named("band"), bordercolor: named("soft"), font: { color: named("ink") } }, ...own,
    };
  };
  const options = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };

  const solid = (() => {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl"));
  })();
  const drawn = new Map();
  const draw = (plot, panel) => {
    const hidden = plot.closest("figure").hiddenNames;
    const data = coloured(panel.data).map((trace) => ({ ...trace, visible: !hidden.has(trace.legendgroup) }));
    drawn.set(plot, panel);
    return Plotly.react(plot, data, layout(panel), options);
  };
  const redraw = (plots) => plots.forEach((plot) => drawn.has(plot) && draw(plot, drawn.get(plot)));

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !drawn.has(target)) draw(target, target.panel);
      // Browsers keep few pictures in three dimensions at a time.
      if (!isIntersecting && target.panel.solid && drawn.delete(target)) Plotly.purge(target);
    }
  }, { rootMargin: "300px" });

  const element = (name, kind, html = "") => {
    const made = document.createElement(name);
    made.className = kind;
    made.innerHTML = html;
    return made;
  };
  const entry = ({ name, colour, dash, marker }, figure) => {
    const button = element("button", "entry", `<i class="${dash}"></i><b>${marker}</b><span>${name}</span>`);
    button.type = "button";
    button.style.setProperty("--swatch", colour);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      figure.hiddenNames[shown ? "delete" : "add"](name);
      redraw([...figure.querySelectorAll(".plot")]);
    });
    return button;
  };

  const names = (legend, figure) => {
    const made = element("div", "legend");
    made.append(...legend.map((one) => one.heading ? element("span", "heading", one.heading) : entry(one, figure)));
    return made;
  };

  for (const place of document.querySelectorAll(".panels")) {
    const { panels, legend, columns } = figures[place.dataset.figure];
    const figure = place.closest("figure");
    figure.hiddenNames = new Set();
    const titled = panels.some(({ title, notes }) => title || notes.length);
    const grid = element("div", "grid");
    grid.style.setProperty("--columns", columns);
    for (const panel of panels) {
      if (panel.solid && !solid) continue;
      const whole = element("div", "panel");
      const notes = panel.notes.map((note) => `<span>${note}</span>`).join(" ");
      if (titled) whole.append(element("div", "head", `<strong>${panel.title}</strong> ${notes}`));
      if (panel.legend.length) whole.append(names(panel.legend, figure));
      const plot = element("div", "plot");
      plot.style.height = `${panel.height}px`;
      plot.panel = panel;
      whole.append(plot);
      grid.append(whole);
      watcher.observe(plot);
    }
    place.append(names(legend, figure), grid);
    figure.classList.add("live");
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw([...drawn.keys()]));
})();
