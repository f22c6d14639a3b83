// Decisions out to a file and in again.

const FIXED_COLUMNS = ["sha256", "path", "reason", "decided_at"];

/** All decisions as rows, those about this page's items in the order of the table. */
function decisionRows() {
  const { column } = data.page.export;
  const rows = [["sha256", "path", column, "reason", "decided_at"]];
  for (let item = 0; item < data.count; item++) {
    if (!choiceOf(item)) continue;
    const [name, id] = memberOf(item, decidedOn[item]);
    rows.push([id, name, choiceOf(item).value, decidedWhy[item], decidedAt[item]]);
  }
  return rows.concat([...strangers.values()]);
}

function saveDecisions() {
  const url = URL.createObjectURL(new Blob([writeCsv(decisionRows())], { type: "text/csv" }));
  el("a", { href: url, download: data.page.export.file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  unsaved = false;
}

function openExport() {
  const { file, destination } = data.page.export;
  const rows = decisionRows().length - 1;
  const own = rows - strangers.size;
  openSheet(
    "Export decisions",
    el("p", {}, `${plural(own, "decision")} about items of this page.`),
    strangers.size ? strangersLine() : null,
    destination ? el("div", { className: "where" }, el("p", {}, "Put the file here, then run the workflow again:"), copyable(destination)) : null,
    el("p", { className: "actions" }, el("button", { type: "button", className: "primary", onclick: saveDecisions }, `Save ${file}`)),
  );
}

function strangersLine() {
  const text = `${plural(strangers.size, "decision")} from an earlier file or table fit no item here. They stay in the exported file.`;
  return el("p", { id: "strangers" }, text, " ", el("button", { type: "button", onclick: leaveOutStrangers }, "Leave them out"));
}

function leaveOutStrangers() {
  for (const key of strangers.keys()) store(key, null);
  strangers.clear();
  openExport();
}

function chooseImport() {
  const input = el("input", { type: "file", accept: ".csv,text/csv" });
  input.addEventListener("change", async () => {
    if (input.files.length) importText(await input.files[0].text(), input.files[0].name);
  });
  input.click();
}

function importText(text, file) {
  try {
    reportImport(file, importRows(parseCsv(text)));
  } catch (error) {
    openSheet("Import", el("p", { className: "failure" }, `${file}: ${error.message}. Nothing was imported.`));
  }
}

/** Take over the rows of a file as one step; gives what became of them. */
function importRows([header = [], ...rows]) {
  const { column } = data.page.export;
  const place = Object.fromEntries([...FIXED_COLUMNS, column].map((name) => [name, header.indexOf(name)]));
  const missing = ["sha256", "path", column].filter((name) => place[name] < 0);
  if (missing.length) throw new Error(`has no column ${missing.join(", ")}; its columns are ${header.join(", ") || "none"}`);
  const choiceByValue = new Map(data.page.choices.map((choice, number) => [choice.value, number]));
  const byContent = Map.groupBy(data.ids.map((_, item) => item), (item) => data.ids[item]);
  const found = { taken: 0, unknown: [], unmatched: [] };
  const perChoice = new Map();
  for (const row of rows) {
    const [id, name, value, why, when] = ["sha256", "path", column, "reason", "decided_at"].map((key) => row[place[key]] ?? "");
    const sha256 = id.trim().toLowerCase();
    const exact = placeByKey.get(itemKey(id, name)) ?? placeByKey.get(itemKey(sha256, name));
    const wanted = exact ? [exact] : name === "" ? (byContent.get(sha256) ?? []).map((item) => [item, 0]) : [];
    // An item has one decision: of rows that name several of its images the first counts.
    const fitting = wanted.filter(([item, image]) => canDecide(item) && (perChoice.get(item)?.[3] ?? image) === image);
    const choice = choiceByValue.get(value.trim());
    if (choice === undefined) found.unknown.push(`${name || id}: ${value || "empty"}`);
    else if (!fitting.length) found.unmatched.push([id, name, value, why, when]);
    else for (const [item, image] of fitting) perChoice.set(item, [choice, when, why, image]);
  }
  for (const row of found.unmatched) keepStranger(row);
  found.taken = takeOver(perChoice);
  return found;
}

function keepStranger(row) {
  const [id, name, value, why, when] = row;
  strangers.set(itemKey(id, name), row);
  storeState(itemKey(id, name), [value, when, why]);
}

/** One step in the history, whatever the choices. */
function takeOver(perChoice) {
  const step = [];
  for (const [item, state] of perChoice) {
    step.push(stateOf(item));
    change(item, ...state);
  }
  if (step.length) history.push(step);
  afterDeciding(step);
  return step.length;
}

function reportImport(file, { taken, unknown, unmatched }) {
  const list = (names) => el("ul", { className: "names" }, ...names.slice(0, 20).map((name) => el("li", {}, name)));
  const more = (names) => (names.length > 20 ? el("p", {}, `… and ${count(names.length - 20)} more`) : null);
  const { column } = data.page.export;
  openSheet(
    "Import",
    el("p", {}, `${file}: ${plural(taken, "decision")} taken over. One undo takes them all back.`),
    unmatched.length ? el("p", { className: "failure" }, `${plural(unmatched.length, "row")} fit no item of this page; the export keeps them:`) : null,
    unmatched.length ? list(unmatched.map(([id, name]) => name || id)) : null,
    more(unmatched),
    unknown.length ? el("p", { className: "failure" }, `${plural(unknown.length, "row")} say something else than ${choiceValues()} under ${column}; left out:`) : null,
    unknown.length ? list(unknown) : null,
    more(unknown),
  );
}

const choiceValues = () => data.page.choices.map((choice) => choice.value).join(", ");
