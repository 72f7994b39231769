// From values to pixels: logarithmic and linear scales with their ticks.

const LEAST_DECADES = 2;
const MOST_TICKS = 6;

// A scale over all positive values given, rounded outwards to decades; `around` is kept in the middle.
function logScale(values, top, bottom, around) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, Math.log10(value));
    high = Math.max(high, Math.log10(value));
  }
  if (low > high) [low, high] = [-1, 1];
  if (around !== undefined) {
    const reach = Math.max(1, Math.ceil(Math.max(Math.abs(low), Math.abs(high)) - 1e-9));
    [low, high] = [-reach, reach];
  }
  [low, high] = [Math.floor(low), Math.ceil(high)];
  while (high - low < LEAST_DECADES) [low, high] = high - low ? [low, high + 1] : [low - 1, high];
  const place = (value) => bottom - ((Math.log10(value) - low) / (high - low)) * (bottom - top);
  const step = Math.ceil((high - low) / MOST_TICKS);
  const ticks = [];
  for (let exponent = Math.ceil(low / step) * step; exponent <= high; exponent += step) {
    ticks.push({ at: place(10 ** exponent), label: exponent === 0 ? "1" : `1e${exponent}` });
  }
  return { place, ticks };
}

function shareScale(top, bottom) {
  const place = (value) => bottom - value * (bottom - top);
  return { place, ticks: [0, 0.5, 1].map((value) => ({ at: place(value), label: `${100 * value} %` })) };
}

// Positions `from`..`to` (whole numbers) side by side between two pixels; each has a slot of `spacing`.
function slotScale(from, to, left, right) {
  const spacing = (right - left) / (to - from + 1);
  return {
    from,
    to,
    left,
    right,
    spacing,
    place: (slot) => left + (slot - from + 0.5) * spacing,
    slotAt: (pixel) => Math.max(from, Math.min(to, Math.floor(from + (pixel - left) / spacing))),
  };
}
