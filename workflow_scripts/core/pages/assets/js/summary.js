// Counts by outcome and reason; each is a filter.

const REASONS_SHOWN = 6;
let allReasons = false;

function startSummary() {
  const place = byId("summary");
  if (!place) return;
  place.append(el("div", { id: "outcomes", role: "group", "aria-label": "Outcomes" }), el("div", { id: "reasons", role: "group", "aria-label": "Reasons" }));
  drawOutcomes();
  drawReasons();
  for (const event of ["thresholds", "decisions", "filters"]) on(event, soon(drawOutcomes));
  on("filters", soon(drawReasons));
}

function drawOutcomes() {
  const counts = outcomeCounts();
  const chips = data.outcomes.map((name, outcome) => {
    if (!counts[outcome] && !data.totals.outcomes[outcome] && !filter.outcomes.has(outcome)) return null;
    const text = [el("b", {}, count(counts[outcome])), " ", el("span", {}, shownName(name))];
    return chip(`outcome ${data.roles[outcome]}`, filter.outcomes.has(outcome), () => toggleOutcome(outcome), text);
  });
  redraw(byId("outcomes"), chips.filter(Boolean));
}

function drawReasons() {
  const wanted = data.totals.reasons.filter(
    ([outcome, reason]) => reason && (!filter.outcomes.size || filter.outcomes.has(data.outcomes.indexOf(outcome))),
  );
  const shown = allReasons ? wanted : wanted.slice(0, REASONS_SHOWN);
  const chips = shown.map(([name, reason, rows]) => {
    const outcome = data.outcomes.indexOf(name);
    const key = reasonKey(outcome, reason);
    return chip(`reason ${data.roles[outcome]}`, filter.reasons.has(key), () => toggleIn(filter.reasons, key), [el("span", {}, reason), " ", el("b", {}, count(rows))]);
  });
  const rest = wanted.length - REASONS_SHOWN;
  const more = () => {
    allReasons = !allReasons;
    drawReasons();
  };
  if (rest > 0) chips.push(el("button", { type: "button", className: "link", onclick: more }, allReasons ? "fewer" : `${plural(rest, "more reason")}`));
  if (allReasons && data.totals.otherReasons) chips.push(el("p", { className: "besides" }, `${plural(data.totals.otherReasons, "item")} with rarer reasons`));
  redraw(byId("reasons"), chips);
}

function chip(kind, pressed, onclick, content) {
  return el("button", { type: "button", className: `chip ${kind}`, "aria-pressed": String(pressed), onclick }, ...content);
}

/** Replace children, with the focus where it was. */
function redraw(place, children) {
  const focused = [...place.children].indexOf(document.activeElement);
  place.replaceChildren(...children);
  if (focused >= 0) place.children[Math.min(focused, place.children.length - 1)]?.focus({ preventScroll: true });
}

function toggleIn(set, key) {
  if (!set.delete(key)) set.add(key);
  emit("filters");
}

function toggleOutcome(outcome) {
  filter.reasons.clear();
  toggleIn(filter.outcomes, outcome);
}
