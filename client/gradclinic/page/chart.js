// The interactive chart: which operations are in view, the cursor, the selected operation, the finding that is shown.

const MARGIN = { left: 58, right: 12, top: 30 };
const HEIGHTS = { magnitude: 250, gain: 120, share: 84, strip: 20 };
const PANEL_GAP = 40;
const FLAG_WIDTH = 20;
const LEAST_SLOTS = 4;
const DRAG_PIXELS = 6;

function flowChart(container, picture, told) {
  const state = { shown: [], from: 0, to: 0, cursor: null, selected: null, finding: null, drag: null };
  const tooltip = make("div", { class: "tooltip", hidden: true });
  const spoken = make("p", { class: "unseen", "aria-live": "polite" });
  const surface = make("div", { class: "surface", tabindex: "0", role: "application", "aria-label": "Gradient flow chart" });
  const overlay = draw("g", { class: "overlay" });
  let slots = null;
  let height = 0;
  container.append(surface, tooltip, spoken);

  function visible() {
    const found = [];
    for (let slot = state.from; slot <= state.to; slot += 1) found.push({ slot, site: picture.sites[state.shown[slot]] });
    return found;
  }

  function redraw() {
    const width = surface.clientWidth;
    if (!width) return;
    surface.replaceChildren();
    if (!state.shown.length) {
      surface.append(make("p", { class: "quiet" }, "No operation matches."));
      return;
    }
    slots = slotScale(state.from, state.to, MARGIN.left, width - MARGIN.right);
    const inView = visible();
    const areas = layOut(inView, width);
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    svg.append(shading(), magnitudePanel(inView, slots, areas.magnitude));
    if (areas.gain) svg.append(gainPanel(inView, slots, areas.gain));
    if (areas.share) svg.append(sharePanel(inView, slots, areas.share));
    svg.append(moduleStrip(inView, slots, areas.strip), flags(), overlay);
    surface.append(svg);
    drawOverlay();
  }

  function layOut(inView, width) {
    const areas = {};
    let top = MARGIN.top + 18;
    const add = (name, gap) => {
      areas[name] = { left: MARGIN.left, right: width - MARGIN.right, top, bottom: top + HEIGHTS[name] };
      top += HEIGHTS[name] + gap;
    };
    add("magnitude", PANEL_GAP);
    if (inView.some(({ site }) => site.gain !== undefined)) add("gain", PANEL_GAP);
    if (inView.some(({ site }) => positive(site.dead) || positive(site.flat))) add("share", PANEL_GAP);
    top -= PANEL_GAP - 12;
    add("strip", 4);
    height = top;
    return areas;
  }

  // Where the shown finding's consequences are.
  function shading() {
    const group = draw("g", { class: "shading" });
    const finding = picture.findings[state.finding];
    if (!finding) return group;
    const affected = new Set(finding.affected);
    const box = { y: MARGIN.top, height: height - MARGIN.top, class: `shade ${finding.severity.toLowerCase()}` };
    for (let slot = state.from; slot <= state.to; slot += 1) {
      if (!affected.has(state.shown[slot])) continue;
      let last = slot;
      while (last < state.to && affected.has(state.shown[last + 1])) last += 1;
      const x = slots.place(slot) - slots.spacing / 2;
      group.append(draw("rect", { ...box, x: round(x), width: round((last - slot + 1) * slots.spacing) }));
      slot = last;
    }
    return group;
  }

  function flagPlace(finding) {
    if (finding.edge === "start") return state.from === 0 ? MARGIN.left : null;
    if (finding.edge === "end") return state.to === state.shown.length - 1 ? slots.right : null;
    const slot = state.shown.findIndex((position) => finding.at.includes(position));
    return slot >= state.from && slot <= state.to && slot >= 0 ? slots.place(slot) : null;
  }

  function flags() {
    const group = draw("g", { class: "flags" });
    const placed = picture.findings
      .map((finding, index) => ({ finding, index, x: flagPlace(finding) }))
      .filter(({ x }) => x !== null)
      .sort((one, other) => one.x - other.x);
    let free = 0;
    for (const { finding, index, x } of placed) {
      const left = Math.min(Math.max(x - FLAG_WIDTH / 2, free), slots.right - FLAG_WIDTH / 2);
      free = left + FLAG_WIDTH + 2;
      const name = `flag ${finding.severity.toLowerCase()}${index === state.finding ? " active" : ""}`;
      const flag = draw("g", { class: name, role: "button", "data-finding": index });
      flag.append(
        draw("line", { x1: round(x), x2: round(x), y1: MARGIN.top - 6, y2: height }),
        draw("rect", { x: round(left), y: 4, width: FLAG_WIDTH, height: 20, rx: 5 }),
        draw("text", { x: round(left + FLAG_WIDTH / 2), y: 18 }, String(finding.number)),
        draw("title", {}, `${finding.number}. ${finding.severity} ${finding.code}`),
      );
      group.append(flag);
    }
    return group;
  }

  function drawOverlay() {
    overlay.replaceChildren();
    if (!slots) return;
    for (const [name, position] of [["kept", state.selected], ["cursor", state.cursor]]) {
      const slot = position === null ? -1 : state.shown.indexOf(position);
      if (slot < state.from || slot > state.to) continue;
      const x = round(slots.place(slot));
      overlay.append(draw("line", { x1: x, x2: x, y1: MARGIN.top, y2: height, class: name }));
    }
    if (state.drag && state.drag.moved) {
      const [low, high] = [Math.min(state.drag.start, state.drag.end), Math.max(state.drag.start, state.drag.end)];
      overlay.append(draw("rect", { x: low, y: MARGIN.top, width: high - low, height: height - MARGIN.top, class: "drag" }));
    }
  }

  function point(slot) {
    if (!state.shown.length) return;
    const within = Math.max(0, Math.min(state.shown.length - 1, slot));
    if (within < state.from || within > state.to) view(state.from + (within < state.from ? within - state.from : within - state.to));
    state.cursor = state.shown[within];
    const site = picture.sites[state.cursor];
    tooltip.replaceChildren(...tooltipContent(site, picture));
    placeTooltip(within);
    spoken.textContent = spokenWords(site);
    drawOverlay();
  }

  // Beside the cursor, on the side that has room.
  function placeTooltip(slot) {
    tooltip.hidden = slot < state.from || slot > state.to;
    if (tooltip.hidden) return;
    const [x, wide] = [slots.place(slot), tooltip.offsetWidth];
    tooltip.style.left = `${Math.max(0, x + wide + 24 < surface.clientWidth ? x + 14 : x - wide - 14)}px`;
  }

  function leave() {
    state.cursor = null;
    tooltip.hidden = true;
    drawOverlay();
  }

  function view(from, to = from + state.to - state.from) {
    const most = state.shown.length - 1;
    const span = Math.min(most, Math.max(Math.min(LEAST_SLOTS, most), Math.round(to - from)));
    state.from = Math.max(0, Math.min(most - span, Math.round(from)));
    state.to = state.from + span;
    told.viewed(state.to - state.from < most);
    redraw();
    if (state.cursor !== null) placeTooltip(state.shown.indexOf(state.cursor));
  }

  function zoom(factor) {
    const around = state.cursor === null ? (state.from + state.to) / 2 : state.shown.indexOf(state.cursor);
    const weight = (around - state.from) / Math.max(1, state.to - state.from);
    const span = (state.to - state.from + 1) * factor - 1;
    view(around - weight * span, around - weight * span + span);
  }

  function select(position) {
    state.selected = position;
    drawOverlay();
    told.selected(position);
  }

  function show(positions) {
    state.shown = positions;
    state.cursor = null;
    tooltip.hidden = true;
    view(0, Math.max(0, positions.length - 1));
  }

  // Brings a finding's operation into view and marks what it affects.
  function showFinding(index) {
    state.finding = index;
    const finding = picture.findings[index];
    const slot = finding ? state.shown.findIndex((position) => finding.at.includes(position)) : -1;
    if (slot >= 0 && (slot < state.from || slot > state.to)) view(slot - (state.to - state.from) / 2);
    redraw();
    if (slot >= 0) select(state.shown[slot]);
  }

  function cursorSlot() {
    const kept = state.cursor === null ? state.selected : state.cursor;
    return kept === null ? -1 : state.shown.indexOf(kept);
  }

  const pan = (part) => view(state.from + part * (state.to - state.from + 1));
  const reset = () => view(0, state.shown.length - 1);
  const chart = { show, showFinding, select, zoom, pan, reset, redraw, point, leave, cursorSlot, state, surface };
  chart.slots = () => slots;
  chart.drawOverlay = drawOverlay;
  chart.view = view;
  listen(chart);
  return chart;
}

// Pointer and keyboard.
function listen(chart) {
  const { surface, state } = chart;
  const pixel = (event) => event.clientX - surface.getBoundingClientRect().left;
  surface.addEventListener("pointermove", (event) => {
    if (!chart.slots() || !state.shown.length) return;
    if (state.drag) {
      state.drag.end = pixel(event);
      state.drag.moved = state.drag.moved || Math.abs(state.drag.end - state.drag.start) > DRAG_PIXELS;
    }
    chart.point(chart.slots().slotAt(pixel(event)));
  });
  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !state.shown.length) return;
    const flag = event.target.closest(".flag");
    if (flag) chart.showFinding(Number(flag.dataset.finding));
    else if (event.pointerType === "mouse") state.drag = { start: pixel(event), end: pixel(event), moved: false };
    else chart.select(state.shown[chart.slots().slotAt(pixel(event))]);
  });
  window.addEventListener("pointerup", () => {
    const { drag } = state;
    state.drag = null;
    if (!drag) return;
    const [one, other] = [chart.slots().slotAt(drag.start), chart.slots().slotAt(drag.end)];
    if (drag.moved) chart.view(Math.min(one, other), Math.max(one, other));
    else chart.select(state.shown[one]);
  });
  surface.addEventListener("pointerleave", () => chart.leave());
  surface.addEventListener("blur", () => chart.leave());
  surface.addEventListener(
    "wheel",
    (event) => {
      if (Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault();
      chart.pan(event.deltaX / surface.clientWidth);
    },
    { passive: false },
  );
  surface.addEventListener("keydown", (event) => pressed(chart, event));
}

function pressed(chart, event) {
  const slot = chart.cursorSlot();
  const step = event.shiftKey ? 10 : 1;
  const actions = {
    ArrowRight: () => chart.point(slot < 0 ? chart.state.from : slot + step),
    ArrowLeft: () => chart.point(slot < 0 ? chart.state.to : slot - step),
    Home: () => chart.point(0),
    End: () => chart.point(chart.state.shown.length - 1),
    Enter: () => slot >= 0 && chart.select(chart.state.shown[slot]),
    "+": () => chart.zoom(0.5),
    "=": () => chart.zoom(0.5),
    "-": () => chart.zoom(2),
    Escape: () => {
      chart.leave();
      chart.reset();
    },
  };
  if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[event.key]();
}
