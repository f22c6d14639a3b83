// Views, search, order, size, filters, and how much of all is visible.

const VIEWS = { all: "All", border: "At the border", random: "Random sample", changed: "Would change", errors: "Errors" };

function startToolbar() {
  const search = el("input", { type: "search", id: "search", placeholder: "Search names", "aria-label": "Search names", "aria-keyshortcuts": "/" });
  search.addEventListener("input", () => setFilter({ name: search.value.trim() }));
  on("filters", () => document.activeElement === search || (search.value = filter.name));
  const shown = el("output", { id: "visible" });
  on("list", () => shown.replaceChildren(...visibleText()));
  byId("toolbar").append(viewButtons(), sampleControls(), search, orderSelect(), sizeButtons(), filterPanel(), shown);
}

function setFilter(change) {
  Object.assign(filter, change);
  emit("filters");
}

function visibleText() {
  const all = data.totals.rows > data.count ? ` shown here, ${count(data.totals.rows)} in all` : "";
  const text = `visible ${count(view.list.length)} of ${count(data.count)}${all}`;
  const limited = filtersInUse() || filter.name || filter.outcomes.size || filter.reasons.size;
  return limited ? [text, " ", el("button", { type: "button", className: "link", onclick: clearFilters }, "clear filters")] : [text];
}

function viewButtons() {
  const roles = new Set(data.totals.outcomes.map((rows, outcome) => rows && data.roles[outcome]));
  const offered = Object.keys(VIEWS).filter(
    (kind) => kind === "all" || (!data.page.blind && (kind === "random" || (kind === "errors" ? roles.has("error") : data.page.thresholds.length))),
  );
  const group = el("div", { className: "views", role: "group", "aria-label": "Views" });
  for (const kind of offered) {
    const button = el("button", { type: "button", "data-view": kind, onclick: () => setView({ kind }) }, VIEWS[kind]);
    on("list", () => button.setAttribute("aria-pressed", String(view.kind === kind)));
    group.append(button);
  }
  return group;
}

/** Which part of the random order is the sample. */
function sampleControls() {
  const sizes = el("select", { "aria-label": "Size of the sample" }, ...SAMPLE_SIZES.map((items) => el("option", { value: items }, `${items} items`)));
  sizes.value = view.size;
  sizes.addEventListener("change", () => setView({ size: Number(sizes.value) }));
  const another = () => {
    const last = view.list.length < view.size;
    setView({ block: last ? 0 : view.block + 1 });
  };
  const number = el("span", { className: "rule" });
  const box = el("div", { className: "sample" }, sizes, number, el("button", { type: "button", onclick: another }, "Another sample"));
  on("list", () => {
    box.hidden = view.kind !== "random";
    number.textContent = `no. ${view.block + 1}`;
  });
  return box;
}

function orderSelect() {
  const select = el("select", { id: "order", "aria-label": "Order" });
  const option = (sort, descending, text) => select.append(el("option", { value: `${descending ? "-" : "+"}${sort}` }, text));
  const own = el("option", { value: "own", hidden: true });
  select.append(own);
  option("table", false, "as listed");
  option("name", false, "by name");
  for (const number of data.page.numbers) {
    option(`number ${number.column}`, true, `${number.label}, highest first`);
    option(`number ${number.column}`, false, `${number.label}, lowest first`);
  }
  select.addEventListener("change", () => setView({ sort: select.value.slice(1), descending: select.value[0] === "-" }));
  on("list", () => {
    own.textContent = { border: "nearest first", random: "random order" }[view.kind] ?? "";
    select.disabled = own.textContent !== "";
    select.value = select.disabled ? "own" : `${view.descending ? "-" : "+"}${view.sort}`;
  });
  return select;
}

function sizeButtons() {
  const group = el("div", { className: "sizes", role: "group", "aria-label": "Size of the pictures" });
  for (const name of Object.keys(SIZES)) {
    const button = el("button", { type: "button", title: name, "aria-label": name, onclick: () => setSize(name) }, name[0].toUpperCase());
    const show = () => button.setAttribute("aria-pressed", String(size === name));
    button.addEventListener("click", () => [...group.children].forEach((other) => other.setAttribute("aria-pressed", String(other === button))));
    show();
    group.append(button);
  }
  return group;
}

function filterPanel() {
  const summary = el("summary", {}, "Filters");
  const body = el("div", { className: "filters-body" }, decidedFilter(), textFilter("text", `Text in name, reason${data.captions ? ", caption" : ""} or tag`), tagFilter());
  for (const number of data.page.numbers) body.append(rangeFilter(number));
  body.append(el("button", { type: "button", onclick: clearFilters }, "Clear filters"));
  const panel = el("details", { id: "filters" }, summary, body);
  on("filters", () => (summary.textContent = filtersInUse() ? `Filters (${filtersInUse()})` : "Filters"));
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel.open) return;
    panel.open = false;
    summary.focus();
    event.stopPropagation();
  });
  return panel;
}

function decidedFilter() {
  if (!data.page.choices.length) return null;
  const options = [["", "all"], ["undecided", "undecided"], ["decided", "decided"], ...data.page.choices.map((choice, number) => [String(number), choice.label])];
  const select = el("select", { "aria-label": "Show by decision" }, ...options.map(([value, text]) => el("option", { value }, text)));
  select.addEventListener("change", () => setFilter({ decided: select.value }));
  on("filters", () => (select.value = filter.decided));
  return el("label", {}, "Decisions", select);
}

function textFilter(key, label, list = "") {
  const input = el("input", { type: "text", ...(list && { list }) });
  input.addEventListener("input", () => setFilter({ [key]: input.value.trim() }));
  on("filters", () => document.activeElement === input || (input.value = filter[key]));
  return el("label", {}, `${label} `, input);
}

function tagFilter() {
  if (!data.tags?.values.length) return null;
  const known = el("datalist", { id: "tags" }, ...data.tags.values.slice(0, 500).map((value) => el("option", { value })));
  return el("div", {}, textFilter("tag", "Tag", "tags"), known);
}

function rangeFilter({ column, label }) {
  const inputs = ["from", "to"].map((end) => el("input", { type: "number", step: "any", placeholder: end, "aria-label": `${label} ${end}` }));
  const read = () => {
    const range = inputs.map((input) => (input.value === "" ? null : input.valueAsNumber));
    if (range.every((end) => end === null)) filter.ranges.delete(column);
    else filter.ranges.set(column, range);
    emit("filters");
  };
  inputs.forEach((input) => input.addEventListener("input", read));
  on("filters", () => filter.ranges.has(column) || inputs.forEach((input) => document.activeElement === input || (input.value = "")));
  return el("div", { className: "range" }, el("span", {}, label), ...inputs);
}
