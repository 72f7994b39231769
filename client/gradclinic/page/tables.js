// Sortable, filterable tables that show some hundred rows at once.

const ROWS_SHOWN = 200;
const ROWS_MORE = 1000;

// A column: title, what it is sorted by, what it shows; `text` columns are not numbers.
function operationColumns() {
  const rms = (kind) => (site) => sortable(site[kind] && site[kind].rms, site[`${kind}Mark`]);
  return [
    { title: "#", by: (site) => site.index, cell: (site) => String(site.index) },
    { title: "operation", text: true, by: (site) => `${site.module} ${site.op}`, cell: operationCell },
    { title: "source", text: true, wide: true, by: sourceWords, cell: sourceCell },
    { title: "output", text: true, wide: true, by: (site) => shapeWords(site.shape), cell: outputCell },
    { title: "calls", wide: true, by: (site) => site.calls, cell: (site) => number(site.calls) },
    { title: "gradient RMS", by: rms("gradient"), cell: (site) => magnitudeCell(site.gradient, site.gradientMark) },
    { title: "gradient zero", wide: true, by: (site) => zeroShare(site.gradient), cell: (site) => share(zeroShare(site.gradient)) },
    { title: "activation RMS", by: rms("activation"), cell: (site) => magnitudeCell(site.activation, site.activationMark) },
    { title: "gain", by: (site) => site.gain, cell: (site) => number(site.gain) },
    { title: "units off", by: (site) => site.dead, cell: (site) => share(site.dead) },
    { title: "flat", by: (site) => site.flat, cell: (site) => share(site.flat) },
  ];
}

const STATUS_WORDS = { MISSING: "none", ZERO: "zero", NON_FINITE: "NaN/Inf", FLOWING: "flowing", FROZEN: "frozen" };

function parameterColumns() {
  const rms = (kind) => (parameter) => parameter[kind] && parameter[kind].rms;
  return [
    { title: "parameter", text: true, by: (parameter) => parameter.name, cell: (parameter) => make("span", { class: "name" }, parameter.name) },
    { title: "shape", text: true, wide: true, by: (parameter) => shapeWords(parameter.shape), cell: outputCell },
    { title: "gradient", text: true, by: (parameter) => parameter.status, cell: statusCell },
    { title: "gradient RMS", by: rms("gradient"), cell: (parameter) => number(parameter.gradient && parameter.gradient.rms) },
    { title: "weight RMS", by: rms("weight"), cell: (parameter) => number(parameter.weight && parameter.weight.rms) },
    { title: "gradient / weight", by: (parameter) => parameter.relative, cell: (parameter) => number(parameter.relative) },
    { title: "gradient zero", wide: true, by: (parameter) => zeroShare(parameter.gradient), cell: (parameter) => share(zeroShare(parameter.gradient)) },
  ];
}

function sortable(rms, mark) {
  return mark === "non-finite" ? Infinity : mark === "missing" ? -1 : rms;
}

function operationCell(site) {
  const button = make("button", { type: "button", class: "operation" }, make("span", {}, moduleWords(site.module)), make("code", { class: "op" }, site.op));
  button.dataset.index = site.index;
  return button;
}

function sourceCell(site) {
  return site.source ? make("span", { title: `${site.source.file}:${site.source.line}\n${site.source.text}` }, sourceWords(site)) : "–";
}

function outputCell({ shape, dtype }) {
  return make("span", { title: dtype }, shapeWords(shape));
}

function magnitudeCell(statistics, mark) {
  return make("span", { class: `magnitude ${mark}` }, magnitude(statistics, mark));
}

function statusCell({ status }) {
  return make("span", { class: `status ${status.toLowerCase()}` }, STATUS_WORDS[status] || status);
}

// A table whose rows are given by `offer`; `words` is what a row is filtered by.
function dataTable(section, columns, words) {
  const table = section.querySelector("table");
  const more = section.querySelector(".more");
  const state = { rows: [], column: null, down: false, filter: "", shown: ROWS_SHOWN };
  const body = make("tbody");
  const heads = columns.map((column, index) => {
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => sortBy(index));
    return make("th", { scope: "col", class: columnClass(column) }, button);
  });
  table.append(make("thead", {}, make("tr", {}, ...heads)), body);

  function sortBy(index) {
    const again = state.column === index;
    state.down = again ? !state.down : !columns[index].text && index > 0;
    state.column = index;
    fill();
  }

  function fill() {
    const found = sorted(state.rows.filter((row) => words(row).includes(state.filter)), columns[state.column], state.down);
    const shown = found.slice(0, state.shown);
    body.replaceChildren(...shown.map((row) => tableRow(row, columns)));
    heads.forEach((head, index) => {
      if (state.column === index) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    more.hidden = shown.length === found.length;
    more.textContent = `Show ${Math.min(ROWS_MORE, found.length - shown.length).toLocaleString("en")} more`;
    const of = found.length === state.rows.length ? "" : ` of ${state.rows.length.toLocaleString("en")}`;
    section.querySelector(".count").textContent = `${found.length.toLocaleString("en")}${of}`;
  }

  section.querySelector("input").addEventListener("input", (event) => {
    state.filter = event.target.value.trim().toLowerCase();
    fill();
  });
  more.addEventListener("click", () => {
    state.shown += ROWS_MORE;
    fill();
  });
  return {
    offer(rows) {
      if (rows.length === state.rows.length) return;
      state.rows = rows;
      fill();
    },
  };
}

function columnClass(column) {
  return `${column.text ? "text" : "figure"}${column.wide ? " wide" : ""}`;
}

function tableRow(row, columns) {
  return make("tr", {}, ...columns.map((column) => make("td", { class: columnClass(column) }, column.cell(row))));
}

// What has no value goes to the end, whichever way is up.
function sorted(rows, column, down) {
  if (!column) return rows;
  const keyed = rows.map((row) => [column.by(row), row]);
  const order = (one, other) => (typeof one === "string" && column.text ? one.localeCompare(other, "en", { numeric: true }) : one - other);
  const present = keyed.filter(([key]) => key !== undefined && (column.text || isNumber(key)));
  const absent = keyed.filter(([key]) => key === undefined || !(column.text || isNumber(key)));
  present.sort(([one], [other]) => (down ? order(other, one) : order(one, other)));
  return [...present, ...absent].map(([, row]) => row);
}
