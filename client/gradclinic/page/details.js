// One operation in words and small pictures: the tooltip, and all that was measured of the selected one.

function findingsAt(position, picture) {
  return picture.findings.filter(({ at }) => at.includes(position));
}

function sourceWords(site) {
  return site.source ? `${fileName(site.source.file)}:${site.source.line}` : "";
}

function facts(site) {
  const rows = [
    ["gradient RMS", magnitude(site.gradient, site.gradientMark)],
    ["activation RMS", site.calls ? magnitude(site.activation, site.activationMark) : "not reached"],
  ];
  if (site.gain !== undefined) rows.push(["gain", number(site.gain)]);
  if (site.dead !== undefined) rows.push(["units off", share(site.dead)]);
  if (site.flat !== undefined) rows.push(["flat region", share(site.flat)]);
  rows.push(["output", `${shapeWords(site.shape)} ${site.dtype}`]);
  if (site.calls > 1) rows.push(["calls", number(site.calls)]);
  return rows;
}

function factList(rows) {
  const list = make("dl", { class: "facts" });
  for (const [label, value] of rows) list.append(make("div", {}, make("dt", {}, label), make("dd", {}, value)));
  return list;
}

function tooltipContent(site, picture) {
  const position = picture.sites.indexOf(site);
  const parts = [
    make("p", { class: "module" }, `${moduleWords(site.module)} `, make("code", { class: "op" }, site.op)),
  ];
  if (site.source) {
    parts.push(make("p", { class: "source" }, `${sourceWords(site)} `, make("code", {}, site.source.text)));
  }
  for (const finding of findingsAt(position, picture)) {
    parts.push(make("p", { class: finding.severity.toLowerCase() }, `${finding.number}. ${finding.severity} ${finding.code}`));
  }
  return [...parts, factList(facts(site))];
}

function spokenWords(site) {
  const words = facts(site).map(([label, value]) => `${label} ${value}`);
  return `Operation ${site.index}, ${moduleWords(site.module)}, ${site.op}: ${words.join(", ")}`;
}

function showDetails(container, position, picture) {
  const site = picture.sites[position];
  container.replaceChildren();
  if (!site) return;
  const title = make("h3", {}, `${moduleWords(site.module)} `, make("code", { class: "op" }, site.op));
  const head = make("div", { class: "head" }, title, make("span", { class: "quiet" }, `operation ${site.index}`));
  container.append(head);
  for (const finding of findingsAt(position, picture)) {
    const link = make("a", { href: `#finding-${finding.number}` }, `${finding.number}. ${finding.code}`);
    container.append(make("p", { class: `told ${finding.severity.toLowerCase()}` }, "Finding ", link));
  }
  if (site.source) {
    container.append(make("p", { class: "file" }, `${site.source.file}:${site.source.line}`));
    if (site.source.text) container.append(make("pre", {}, make("code", {}, site.source.text)));
  }
  container.append(factList(facts(site)));
  const pictures = make("div", { class: "pictures" });
  for (const kind of ["gradient", "activation"]) {
    if (site[kind]) pictures.append(statisticsFigure(kind, site[kind]));
  }
  if (site.byCall) pictures.append(byCallFigure(site.byCall, Math.min(520, container.clientWidth - 40)));
  container.append(pictures);
}

function statisticsFigure(kind, statistics) {
  const rows = [
    ["elements", statistics.count.toLocaleString("en")],
    ["zero", share(zeroShare(statistics))],
    ["NaN/Inf", statistics.nonfinite ? statistics.nonfinite.toLocaleString("en") : "0"],
    ["mean", number(statistics.mean)],
    ["min", number(statistics.min)],
    ["max", number(statistics.max)],
  ];
  const caption = make("figcaption", {}, kind === "gradient" ? "Gradient" : "Activation");
  const figure = make("figure", { class: kind }, caption, factList(rows));
  if (statistics.histogram) figure.append(histogram(statistics.histogram));
  return figure;
}

// Magnitudes by powers of two.
function histogram({ lowest, counts }) {
  const [width, height] = [260, 70];
  const most = Math.max(...counts, 1);
  const bar = (width - 2) / Math.max(counts.length, 8);
  const bars = counts.map((value, index) => {
    const tall = value ? Math.max(1, (value / most) * (height - 18)) : 0;
    return `M${round(1 + index * bar)} ${height - 16}v${-round(tall)}h${round(0.86 * bar)}v${round(tall)}z`;
  });
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "histogram" });
  const last = lowest + counts.length - 1;
  svg.append(
    draw("title", {}, `Magnitudes from 2^${lowest} to 2^${last + 1}`),
    draw("path", { d: bars.join(""), class: "bars" }),
    draw("text", { x: 0, y: height - 2, class: "start" }, number(2 ** lowest)),
    draw("text", { x: round(Math.max(120, counts.length * bar)), y: height - 2, class: "end" }, number(2 ** (last + 1))),
  );
  return svg;
}

// A loop's gradient through its calls, oldest first.
function byCallFigure(byCall, width) {
  const height = 150;
  const series = byCall.map((value, slot) => {
    const mark = !isNumber(value) ? "non-finite" : value > 0 ? "value" : "zero";
    return { slot, value, mark };
  });
  const area = { left: 52, right: width - 8, top: 10, bottom: height - 40 };
  const slots = slotScale(0, Math.max(1, byCall.length - 1), area.left, area.right);
  const scale = logScale(byCall.filter(positive), area.top, area.bottom);
  const rows = { zero: area.bottom + 10, "non-finite": area.top };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(
    draw("title", {}, `Gradient RMS of ${byCall.length} calls`),
    panelFrame("", scale.ticks, area),
    drawSeries(series, slots, scale.place, "gradient"),
    drawMarks(series, slots, rows, "gradient", 0),
    draw("text", { x: area.left, y: height - 4, class: "start" }, "first call"),
    draw("text", { x: area.right, y: height - 4, class: "end" }, `call ${byCall.length}`),
  );
  return make("figure", { class: "gradient calls" }, make("figcaption", {}, "Gradient RMS of each call, as in time"), svg);
}
