// Puts the parts together.

function toolbar(place, hiddenCount, actions) {
  const filter = make("input", { type: "search", placeholder: "Filter by module or op", "aria-label": "Filter the chart by module or op" });
  const others = make("input", { type: "checkbox", id: "flow-others" });
  const label = make("label", { for: "flow-others" }, others, ` also ${count(hiddenCount, "operation")} without numbers`);
  const changed = () => actions.filtered(filter.value.trim().toLowerCase(), others.checked);
  filter.addEventListener("input", changed);
  others.addEventListener("change", changed);
  const buttons = [
    ["Zoom in", "+", () => actions.zoom(0.5)],
    ["Zoom out", "−", () => actions.zoom(2)],
    ["Earlier operations", "◂", () => actions.pan(-0.5)],
    ["Later operations", "▸", () => actions.pan(0.5)],
    ["Whole model", "Reset", () => actions.reset()],
  ].map(([title, sign, action]) => {
    const button = make("button", { type: "button", title, "aria-label": title }, sign);
    button.addEventListener("click", action);
    return button;
  });
  const group = make("div", { class: "buttons", role: "group", "aria-label": "Zoom" }, ...buttons);
  place.append(filter, ...(hiddenCount ? [label] : []), group);
}

function legend(place, picture) {
  const sample = (name, path) => {
    const svg = draw("svg", { width: 26, height: 12, viewBox: "0 0 26 12", "aria-hidden": "true" });
    svg.append(draw("g", { class: name.split(" ")[0] }, draw("path", { d: path, class: name.split(" ").slice(1).join(" ") })));
    return svg;
  };
  const item = (words, ...parts) => make("span", { class: "item" }, ...parts, ` ${words}`);
  const has = (mark) => picture.sites.some((site) => site.gradientMark === mark || site.activationMark === mark);
  const items = [
    item("gradient", sample("gradient line", "M1 6H25")),
    item("activation", sample("activation line", "M1 6H25")),
  ];
  if (has("zero")) items.push(item("exactly zero", sample("gradient mark zero", GLYPHS.ring(13, 6))));
  if (has("missing")) items.push(item("no gradient arrived", sample("gradient mark missing", GLYPHS.cross(13, 6))));
  if (has("non-finite")) items.push(item("NaN or infinity", sample("gradient mark non-finite", GLYPHS.triangle(13, 6))));
  if (picture.sites.some(({ dead }) => positive(dead))) items.push(item("units off for every sample", sample("x share dead", "M8 2h10v9h-10z")));
  if (picture.sites.some(({ flat }) => positive(flat))) items.push(item("values in the flat region", sample("x share flat", "M8 2h10v9h-10z")));
  if (picture.findings.some(({ affected }) => affected.length)) items.push(item("affected by the finding shown", make("i", { class: "shade-sample" })));
  place.append(...items);
}

// Draws the flow; `offered` is told which operations are to be seen at all.
function startFlow(picture, offered) {
  const told = new Set(picture.findings.flatMap(({ at }) => at));
  const drawn = picture.sites.map((site, position) => site.measured || told.has(position));
  const details = document.getElementById("flow-details");
  const bar = document.getElementById("flow-toolbar");
  const chart = flowChart(document.getElementById("flow-chart"), picture, {
    selected: (position) => showDetails(details, position, picture),
    viewed: (zoomed) => bar.classList.toggle("zoomed", zoomed),
  });
  const filtered = (words, others) => {
    const matches = (site) => `${site.module} ${site.op}`.toLowerCase().includes(words);
    const kept = [...picture.sites.keys()].filter((position) => others || drawn[position]);
    chart.show(kept.filter((position) => matches(picture.sites[position])));
    offered(kept.map((position) => picture.sites[position]));
  };
  toolbar(bar, drawn.filter((each) => !each).length, { filtered, zoom: chart.zoom, pan: chart.pan, reset: chart.reset });
  legend(document.getElementById("flow-legend"), picture);
  filtered("", false);
  const first = picture.findings.findIndex(({ at, affected, edge }) => at.length || affected.length || edge);
  if (first >= 0) chart.showFinding(first);
  let width = 0;
  new ResizeObserver(() => {
    if (chart.surface.clientWidth === width) return;
    width = chart.surface.clientWidth;
    chart.redraw();
  }).observe(chart.surface);
  return chart;
}

function start() {
  const picture = JSON.parse(document.getElementById("picture").textContent);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const reveal = (identifier) => document.getElementById(identifier).scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  if (picture.sites.length) {
    const operations = document.getElementById("operations");
    const words = (site) => `${site.module} ${site.op} ${sourceWords(site)}`.toLowerCase();
    const table = dataTable(operations, operationColumns(), words);
    const chart = startFlow(picture, table.offer);
    for (const button of document.querySelectorAll(".locate")) {
      button.addEventListener("click", () => {
        chart.showFinding(Number(button.dataset.finding) - 1);
        reveal("flow");
      });
    }
    const positions = new Map(picture.sites.map((site, position) => [site.index, position]));
    operations.addEventListener("click", (event) => {
      const button = event.target.closest(".operation");
      if (!button) return;
      chart.select(positions.get(Number(button.dataset.index)));
      reveal("flow-details");
    });
  }
  if (picture.parameters.length) {
    const words = (parameter) => `${parameter.name} ${STATUS_WORDS[parameter.status] || parameter.status}`.toLowerCase();
    dataTable(document.getElementById("parameters"), parameterColumns(), words).offer(picture.parameters);
  }
}

start();
