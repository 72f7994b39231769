// Numbers and names as a reader wants them, and the elements that show them. Strings from the model only ever become text.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const MARK_WORDS = { zero: "exactly 0", missing: "none arrived", "non-finite": "NaN/Inf", absent: "–" };

function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG_NAMESPACE, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function isNumber(value) {
  return typeof value === "number";
}

function number(value) {
  if (value === undefined || value === null) return "–";
  if (!isNumber(value)) return value.replace("Infinity", "Inf");
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

function share(value) {
  if (!isNumber(value)) return number(value);
  const percent = 100 * value;
  const rounded = Math.round(10 * percent) / 10;
  const misleads = value !== 0 && value !== 1 && (rounded === 0 || rounded === 100);
  return `${misleads ? Number(percent.toPrecision(6)) : rounded} %`;
}

function count(value, one) {
  return `${value.toLocaleString("en")} ${value === 1 ? one : `${one}s`}`;
}

function shapeWords(shape) {
  return shape.length ? shape.join(" × ") : "scalar";
}

function moduleWords(path) {
  return path || "(root)";
}

function fileName(path) {
  return path.split(/[\\/]/).pop();
}

// What a tensor's magnitude is, in words: its RMS, or why there is none.
function magnitude(statistics, mark) {
  if (!statistics) return MARK_WORDS[mark];
  if (mark === "value") return number(statistics.rms);
  if (mark !== "non-finite") return mark === "absent" ? "no elements" : MARK_WORDS[mark];
  const rest = statistics.nonfinite < statistics.count ? `, else ${number(statistics.rms)}` : "";
  return `NaN/Inf in ${share(statistics.nonfinite / statistics.count)}${rest}`;
}

function zeroShare(statistics) {
  return statistics && statistics.count ? (statistics.zeros || 0) / statistics.count : undefined;
}
