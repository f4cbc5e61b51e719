"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const places = [...document.querySelectorAll("[data-chart]")];
  const views = new Map();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const data = new Set(["values", "params"]); // names in there may be spelt like a colour
  // Charts have the colours of the page, light or dark; "var(--x)" in a specification is looked up here.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const coloured = (value) => {
    if (typeof value === "string") return value.replace(/^var\((--[a-z]+)\)$/, (_, name) => colour(name));
    if (Array.isArray(value)) return value.map(coloured);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, data.has(key) ? each : coloured(each)]));
    return value;
  };

  const config = (columns) => {
    const ink = colour("--ink"), faint = colour("--faint"), line = colour("--line");
    return {
      background: "transparent", font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: {
        labelColor: faint, titleColor: ink, labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500,
        gridColor: line, domainColor: line, tickColor: line, labelLimit: 150, titleLimit: 400,
      },
      legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500,
                labelLimit: 220, titleLimit: 400, orient: "bottom", columns },
      text: { color: ink, fontSize: 12 },
    };
  };

  // Vega logs faults while it draws, and continues.
  const faults = [];
  const logger = { level: () => logger, error: (fault) => faults.push(fault) };
  logger.warn = logger.info = logger.debug = () => logger;

  const draw = (place) => {
    faults.length = 0;
    const spec = coloured(specs[place.dataset.chart]);
    const longest = spec.usermeta?.longest; // characters in a legend
    const columns = longest ? Math.max(1, Math.floor(place.clientWidth / (40 + 7 * longest))) : 2;
    const full = { ...spec, width: Math.min(place.clientWidth, spec.usermeta?.widest ?? Infinity),
                   autosize: { type: "fit-x", contains: "padding" }, config: config(columns) };
    const compiled = vegaLite.compile(full, { logger }).spec;
    const view = new vega.View(vega.parse(compiled), { renderer: "svg", hover: false, logger });
    views.set(place, view);
    const steps = place.closest("section").querySelector(".steps input");
    if (steps && compiled.signals?.some((signal) => signal.name === "epoch")) view.signal("epoch", Number(steps.value));
    view.initialize(place).run();
    if (faults.length) throw faults[0];
    const svg = place.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", place.previousElementSibling.textContent);
    // A screen reader reads the caption, not hundreds of marks.
    svg.querySelectorAll("[role], [aria-roledescription], [aria-label]").forEach((each) => {
      each.removeAttribute("role"); each.removeAttribute("aria-roledescription"); each.removeAttribute("aria-label");
    });
    [...svg.children].forEach((each) => each.setAttribute("aria-hidden", "true"));
  };

  // The other charts are drawn even if this one cannot be.
  const redraw = (place) => {
    views.get(place)?.finalize();
    views.delete(place);
    place.replaceChildren();
    try {
      draw(place);
    } catch (fault) {
      views.delete(place);
      place.textContent = `This chart cannot be drawn here: ${fault.message ?? fault}`;
    }
  };

  document.querySelectorAll(".steps").forEach((steps) => {
    const names = JSON.parse(steps.dataset.steps);
    const [button, input, output] = ["button", "input", "output"].map((tag) => steps.querySelector(tag));
    let timer = null;
    const show = () => {
      steps.dispatchEvent(new CustomEvent("step", { detail: Number(input.value), bubbles: true }));
      output.textContent = names[input.value];
      input.setAttribute("aria-valuetext", names[input.value]);
      for (const place of steps.closest("section").querySelectorAll("[data-chart]")) {
        const view = views.get(place);
        if (view && "epoch" in view.getState().signals) view.signal("epoch", Number(input.value)).run();
      }
    };
    const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; output.removeAttribute("aria-live"); };
    input.addEventListener("input", () => { stop(); show(); });
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (input.value === input.max) { input.value = 0; show(); }
      button.textContent = "Pause";
      output.setAttribute("aria-live", "off"); // not at every step
      timer = setInterval(() => {
        input.value = Number(input.value) + 1;
        show();
        if (input.value === input.max) stop();
      }, Math.max(120, 4000 / names.length));
    });
    show();
  });

  const all = () => places.forEach(redraw);
  let width = innerWidth, waiting = null;
  all();
  dark.addEventListener("change", all);
  addEventListener("resize", () => {
    if (innerWidth === width) return;  // a phone's address bar comes and goes
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(all, 150);
  });
  window.untrained = { views: () => places.map((place) => views.get(place)) };
})();
