// The panels of the chart: magnitudes, gain and shares. Each series is one path, so that ten thousand operations stay quick.

const ROW_HEIGHT = 18;
const DOT_SPACING = 6;
const BAND_SPACING = 2.5;
const BUCKET_PIXELS = 8;

const GLYPHS = {
  dot: (x, y) => `M${x - 2.2} ${y}a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0 -4.4 0`,
  ring: (x, y) => `M${x - 3.5} ${y}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0`,
  cross: (x, y) => `M${x - 3.2} ${y - 3.2}l6.4 6.4m0 -6.4l-6.4 6.4`,
  triangle: (x, y) => `M${x} ${y - 4}l4.2 7.4h-8.4z`,
};
const MARK_GLYPHS = { zero: "ring", missing: "cross", "non-finite": "triangle" };
const ROW_LABELS = { "non-finite": "NaN/Inf", zero: "zero", missing: "none" };

function round(pixel) {
  return Math.round(10 * pixel) / 10;
}

function panelFrame(title, ticks, area) {
  const group = draw("g", { class: "panel" });
  group.append(draw("text", { x: area.left, y: area.top - 8, class: "title" }, title));
  for (const tick of ticks) {
    group.append(
      draw("line", { x1: area.left, x2: area.right, y1: round(tick.at), y2: round(tick.at), class: "grid" }),
      draw("text", { x: area.left - 6, y: round(tick.at) + 4, class: "tick" }, tick.label),
    );
  }
  return group;
}

function positive(value) {
  return isNumber(value) && value > 0;
}

// A line through the points that have a value. It ends where the value is zero, missing or not finite, and goes on past
// operations that have nothing to expect.
function linePath(series, slots, place) {
  const pieces = [[]];
  for (const { slot, value, mark } of series) {
    if (mark === "absent") continue;
    if (positive(value)) pieces[pieces.length - 1].push([round(slots.place(slot)), round(place(value))]);
    else pieces.push([]);
  }
  const path = pieces.map((points) => points.map(([x, y], turn) => `${turn ? "L" : "M"}${x} ${y}`).join("")).join("");
  return { path, alone: pieces.filter((points) => points.length === 1).map(([point]) => point) };
}

function glyphPath(glyph, points) {
  return points.map(([x, y]) => GLYPHS[glyph](round(x), round(y))).join("");
}

// What is too dense for a line, in buckets of some pixels: the range as a band, the geometric mean as a line.
function drawBand(series, slots, place, name) {
  const pieces = [[]];
  const size = Math.ceil(BUCKET_PIXELS / slots.spacing);
  for (let start = 0; start < series.length; start += size) {
    const bucket = series.slice(start, start + size).filter(({ mark }) => mark !== "absent");
    const values = bucket.map(({ value }) => value).filter(positive);
    if (!values.length) {
      if (bucket.length) pieces.push([]);
      continue;
    }
    const logarithms = values.map(Math.log);
    const mean = Math.exp(logarithms.reduce((sum, each) => sum + each, 0) / values.length);
    const x = round(slots.place(series[start].slot + (bucket.length - 1) / 2));
    const at = [Math.max(...values), mean, Math.min(...values)].map((value) => round(place(value)));
    pieces[pieces.length - 1].push([x, ...at]);
  }
  const trace = (points, column) => points.map((point) => `${point[0]} ${point[column]}`).join("L");
  const group = draw("g", { class: name });
  for (const points of pieces.filter(({ length }) => length)) {
    const back = [...points].reverse();
    group.append(draw("path", { d: `M${trace(points, 1)}L${trace(back, 3)}z`, class: "band" }));
    group.append(draw("path", { d: `M${trace(points, 2)}`, class: "line" }));
    if (points.length === 1) group.append(draw("path", { d: glyphPath("dot", [[points[0][0], points[0][2]]]), class: "dots" }));
  }
  return group;
}

function drawSeries(series, slots, place, name) {
  if (slots.spacing < BAND_SPACING) return drawBand(series, slots, place, name);
  const group = draw("g", { class: name });
  const { path, alone } = linePath(series, slots, place);
  if (path) group.append(draw("path", { d: path, class: "line" }));
  const dots =
    slots.spacing >= DOT_SPACING
      ? series.filter(({ value }) => positive(value)).map(({ slot, value }) => [slots.place(slot), place(value)])
      : alone;
  if (dots.length) group.append(draw("path", { d: glyphPath("dot", dots), class: "dots" }));
  return group;
}

// Rows outside the logarithmic scale, for what has no place on it.
function drawMarks(series, slots, rows, name, shift) {
  const group = draw("g", { class: name });
  for (const [mark, y] of Object.entries(rows)) {
    const points = series.filter((each) => each.mark === mark).map(({ slot }) => [slots.place(slot), y + shift]);
    if (points.length) group.append(draw("path", { d: glyphPath(MARK_GLYPHS[mark], points), class: `mark ${mark}` }));
  }
  return group;
}

function magnitudePanel(visible, slots, area) {
  const of = (kind) =>
    visible.map(({ site, slot }) => ({ slot, value: site[kind] && site[kind].rms, mark: site[`${kind}Mark`] }));
  const [gradient, activation] = [of("gradient"), of("activation")];
  const present = new Set([...gradient, ...activation].map(({ mark }) => mark));
  let [top, bottom] = [area.top, area.bottom];
  const rows = {};
  if (present.has("non-finite")) {
    rows["non-finite"] = top + ROW_HEIGHT / 2;
    top += ROW_HEIGHT + 4;
  }
  for (const mark of ["missing", "zero"]) {
    if (!present.has(mark)) continue;
    rows[mark] = bottom - ROW_HEIGHT / 2;
    bottom -= ROW_HEIGHT;
  }
  if (bottom < area.bottom) bottom -= 10;
  const values = [...gradient, ...activation].map(({ value }) => value).filter(positive);
  const scale = logScale(values, top + 4, bottom);
  const dense = slots.spacing < BAND_SPACING ? ": mean and range" : "";
  const group = panelFrame(`RMS of gradient and activation${dense}`, scale.ticks, area);
  for (const [mark, y] of Object.entries(rows)) {
    const box = { x: area.left, y: y - ROW_HEIGHT / 2, width: area.right - area.left, height: ROW_HEIGHT - 2 };
    group.append(
      draw("rect", { ...box, class: `row ${mark}` }),
      draw("text", { x: area.left - 6, y: y + 4, class: "tick" }, ROW_LABELS[mark]),
    );
  }
  group.append(
    drawSeries(activation, slots, scale.place, "activation"),
    drawSeries(gradient, slots, scale.place, "gradient"),
    drawMarks(activation, slots, rows, "activation", 3),
    drawMarks(gradient, slots, rows, "gradient", -2),
  );
  return group;
}

// How much one operation multiplies the gradient: stems from 1, down where it shrinks, up where it grows.
function gainPanel(visible, slots, area) {
  const gains = visible.filter(({ site }) => site.gain !== undefined).map(({ site, slot }) => [slot, site.gain]);
  const finite = gains.filter(([, gain]) => positive(gain));
  const scale = logScale(finite.map(([, gain]) => gain), area.top + 4, area.bottom - 4, 1);
  const group = panelFrame("Gain of each operation on the gradient", scale.ticks, area);
  const one = round(scale.place(1));
  group.append(draw("line", { x1: area.left, x2: area.right, y1: one, y2: one, class: "axis" }));
  const stems = finite.map(([slot, gain]) => `M${round(slots.place(slot))} ${one}V${round(scale.place(gain))}`).join("");
  if (stems) group.append(draw("path", { d: stems, class: "stems" }));
  if (slots.spacing >= DOT_SPACING) {
    const dots = finite.map(([slot, gain]) => [slots.place(slot), scale.place(gain)]);
    group.append(draw("path", { d: glyphPath("dot", dots), class: "gain dots" }));
  }
  const closed = gains.filter(([, gain]) => gain === 0).map(([slot]) => [slots.place(slot), area.bottom - 5]);
  const broken = gains.filter(([, gain]) => !isNumber(gain)).map(([slot]) => [slots.place(slot), area.top + 6]);
  if (closed.length) group.append(draw("path", { d: glyphPath("ring", closed), class: "gain mark zero" }));
  if (broken.length) group.append(draw("path", { d: glyphPath("triangle", broken), class: "gain mark non-finite" }));
  return group;
}

function sharePanel(visible, slots, area) {
  const scale = shareScale(area.top, area.bottom);
  const group = panelFrame("Units off for every sample, flat region", scale.ticks, area);
  const half = Math.max(0.8, Math.min(5, 0.28 * slots.spacing));
  for (const [kind, side] of [["dead", -1], ["flat", 1]]) {
    const bars = visible
      .filter(({ site }) => positive(site[kind]))
      .map(({ site, slot }) => {
        const x = slots.place(slot) + (side < 0 ? -half : 0);
        return `M${round(x)} ${area.bottom}V${round(scale.place(site[kind]))}h${round(half)}V${area.bottom}z`;
      });
    if (bars.length) group.append(draw("path", { d: bars.join(""), class: `share ${kind}` }));
  }
  return group;
}

// The end of a module's path that fits, whole names where possible.
function shortened(path, room) {
  if (path.length <= room) return path;
  const names = path.split(".");
  while (names.length > 1) {
    names.shift();
    if (names.join(".").length <= room) return names.join(".");
  }
  return room >= 8 ? `…${path.slice(1 - room)}` : "";
}

// Neighbours of one module at a level of the tree. Where that is too fine (`coarse`), what a parent does between its
// children counts to the child before it.
function moduleRuns(visible, level, coarse) {
  const runs = [];
  for (const { site, slot } of visible) {
    const name = site.module.split(".").slice(0, level).join(".");
    const last = runs[runs.length - 1];
    const within = last && coarse && (name === "" || last.name.startsWith(`${name}.`));
    if (last && (last.name === name || within)) last.to = slot;
    else runs.push({ name, from: slot, to: slot });
  }
  return runs;
}

// Which modules stand where: the deepest level of the module tree whose names still fit.
function moduleStrip(visible, slots, area) {
  const group = draw("g", { class: "strip" });
  const most = (area.right - area.left) / 64;
  const coarse = moduleRuns(visible, 1, false).length > most;
  let best = moduleRuns(visible, 1, coarse);
  for (let level = 2; level <= 8; level += 1) {
    const runs = moduleRuns(visible, level, coarse);
    if (runs.length > most) break;
    best = runs;
  }
  best.forEach(({ name, from, to }, turn) => {
    const x = slots.place(from) - slots.spacing / 2;
    const width = slots.place(to) + slots.spacing / 2 - x;
    const box = { x: round(x), y: area.top, width: round(Math.max(0.5, width)), height: area.bottom - area.top };
    group.append(draw("rect", { ...box, class: turn % 2 ? "odd" : "even" }));
    const shown = shortened(moduleWords(name), Math.floor((width - 6) / 6.2));
    if (shown) group.append(draw("text", { x: round(x + width / 2), y: area.top + 14 }, shown));
  });
  return group;
}
