// A histogram for each threshold, with a handle to drag.

const BARS_HEIGHT = 100; // of the drawing's own units; the style sheet gives the size on the screen

function startHistograms() {
  const place = byId("thresholds");
  data.page.thresholds.forEach((threshold, number) => place.append(makeHistogram(threshold, number)));
  if (data.page.thresholds.length) place.append(el("div", { id: "config" }));
}

function makeHistogram(threshold, number) {
  const totals = data.totals.histograms[number];
  const handle = el("div", { className: "handle", role: "slider", tabIndex: 0, "aria-label": `Threshold for ${threshold.label}` });
  const shade = el("div", { className: "shade" });
  const bars = svg("svg", { viewBox: `0 0 ${totals.kept.length} ${BARS_HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const mark = el("div", { className: "mark", title: `In force: ${threshold.value}` });
  const plot = el("div", { className: "plot" }, bars, shade, mark, handle);
  mark.style.left = percent(threshold, threshold.value);
  const [low, high] = [threshold.grid[0], threshold.grid.at(-1)];
  const value = el("span", { className: "value" });
  const reset = el("button", { type: "button", className: "reset", onclick: () => moveHandle(number, threshold.value) }, "Reset");
  const scale = el("input", { type: "checkbox", checked: needsLogarithm(totals) });
  scale.addEventListener("change", () => drawBars(bars, totals, scale.checked));
  const change = el("p", { className: "change" });
  drawBars(bars, totals, scale.checked);
  startDragging(plot, handle, number);
  const sign = threshold.atLeast ? "≥" : "<";
  on("thresholds", () => showHandle({ handle, shade, value, reset, change }, threshold, number));
  on("decisions", () => showHandle({ handle, shade, value, reset, change }, threshold, number));
  showHandle({ handle, shade, value, reset, change }, threshold, number);
  return el(
    "div",
    { className: "histogram" },
    el("div", { className: "histogram-head" }, el("h2", {}, threshold.label), el("span", { className: "rule" }, `${shownName(nameOf("rejected"))} if ${sign} `, value), reset),
    plot,
    el("div", { className: "axis" }, el("span", {}, String(low)), el("label", {}, scale, " log scale"), el("span", {}, String(high))),
    besides(totals),
    change,
  );
}

/** What the bars leave out. */
function besides({ outside, unknown }) {
  const parts = [outside && `${plural(outside, "item")} outside this range`, unknown && `${plural(unknown, "item")} without this number`].filter(Boolean);
  return parts.length ? el("p", { className: "besides" }, parts.join(", ")) : null;
}

/** A few bars far above the others hide these. */
function needsLogarithm({ kept, rejected }) {
  const heights = kept.map((value, bin) => value + rejected[bin]).filter(Boolean).sort((one, other) => one - other);
  return heights.length > 0 && heights.at(-1) > 20 * heights[heights.length >> 1];
}

function drawBars(bars, { kept, rejected }, logarithm) {
  const scaled = (value) => (logarithm ? Math.log1p(value) : value);
  const top = Math.max(1e-9, ...kept.map((value, bin) => scaled(value + rejected[bin])));
  const path = { kept: "", rejected: "" };
  kept.forEach((value, bin) => {
    const total = value + rejected[bin];
    const height = (scaled(total) / top) * BARS_HEIGHT;
    const part = total ? (height * value) / total : 0;
    path.kept += rectangle(bin, BARS_HEIGHT - part, part);
    path.rejected += rectangle(bin, BARS_HEIGHT - height, height - part);
  });
  bars.replaceChildren(...Object.entries(path).map(([name, d]) => svg("path", { class: name, d })));
}

const rectangle = (x, y, height) => (height > 0 ? `M${x + 0.08} ${y}h.84v${height}h-.84z` : "");

const percent = ({ grid }, value) => `${((value - grid[0]) / (grid.at(-1) - grid[0])) * 100}%`;

function showHandle({ handle, shade, value, reset, change }, threshold, number) {
  const at = valueOf(number);
  const text = changeText();
  handle.style.left = percent(threshold, at);
  Object.assign(shade.style, threshold.atLeast ? { left: percent(threshold, at), right: "0" } : { left: "0", right: `calc(100% - ${percent(threshold, at)})` });
  handle.setAttribute("aria-valuemin", threshold.grid[0]);
  handle.setAttribute("aria-valuemax", threshold.grid.at(-1));
  handle.setAttribute("aria-valuenow", at);
  handle.setAttribute("aria-valuetext", `${at}, would change: ${text}`);
  value.textContent = String(at);
  reset.hidden = !isMoved(number);
  change.hidden = !isMoved(number);
  change.replaceChildren(`Would change: ${text} `, showChanged());
}

function changeText() {
  const { removed, returned, exact } = wouldChange();
  const [kept, rejected] = [shownName(nameOf("kept")), shownName(nameOf("rejected"))];
  const note = exact ? "" : " among the items shown; for all rows together move one handle at a time";
  return `${count(removed)} ${kept} → ${rejected}, ${count(returned)} ${rejected} → ${kept}${note}`;
}

function showChanged() {
  return el("button", { type: "button", className: "link", onclick: () => setView({ kind: "changed" }) }, "show them");
}

/** The place in an ascending grid that is nearest to a value. */
function nearestPlace(grid, value) {
  let low = 0;
  for (let high = grid.length - 1; low < high; ) {
    const middle = (low + high) >> 1;
    if (grid[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - grid[low - 1] <= grid[low] - value ? low - 1 : low;
}

function moveHandle(number, value) {
  placeHandle(number, nearestPlace(data.page.thresholds[number].grid, value));
}

function placeHandle(number, place) {
  const { grid } = data.page.thresholds[number];
  const next = Math.max(0, Math.min(grid.length - 1, place));
  if (next === positions[number]) return;
  positions[number] = next;
  judge();
  emit("thresholds");
}

function startDragging(plot, handle, number) {
  const { grid } = data.page.thresholds[number];
  const follow = (event) => {
    const { left, width } = plot.getBoundingClientRect();
    moveHandle(number, grid[0] + ((event.clientX - left) / width) * (grid.at(-1) - grid[0]));
  };
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plot.setPointerCapture(event.pointerId);
    plot.classList.add("dragged");
    handle.focus({ preventScroll: true });
    event.preventDefault();
    follow(event);
  });
  plot.addEventListener("pointermove", (event) => plot.hasPointerCapture(event.pointerId) && follow(event));
  for (const end of ["pointerup", "pointercancel"]) plot.addEventListener(end, () => plot.classList.remove("dragged"));
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    placeHandle(number, positions[number] + step);
  });
}
