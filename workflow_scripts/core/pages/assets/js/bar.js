// The bar at the bottom: how much is decided, and what to do about it.

const choiceButtons = () =>
  data.page.choices.map((choice, number) => keyButton(choice.label, choice.key, () => decideTargets(number), `choice ${choice.outcome || "other"}`));

function startBar() {
  const bar = byId("bar");
  if (!bar) return;
  const meter = el("div", { className: "meter", "aria-hidden": "true" });
  const said = el("p", { id: "progress" });
  bar.append(
    meter,
    said,
    el("div", { className: "choices" }, ...choiceButtons(), keyButton("Undo", "u", undoAndShow), keyButton("Next undecided", "n", moveToUndecided)),
    el(
      "div",
      { className: "files" },
      data.page.move ? el("button", { type: "button", onclick: openMove }, "Move files…") : null,
      el("button", { type: "button", onclick: chooseImport }, "Import…"),
      el("button", { type: "button", onclick: openExport }, "Export…"),
    ),
  );
  const show = soon(() => showProgress(meter, said));
  for (const event of ["list", "decisions", "current"]) on(event, show);
  show();
}

/** How many items of each choice, and how many can be decided. */
function progressOf(items) {
  const found = { perChoice: data.page.choices.map(() => 0), open: 0, decided: 0 };
  for (const item of items) {
    if (!canDecide(item)) continue;
    found.open++;
    if (decided[item] < 0) continue;
    found.decided++;
    found.perChoice[decided[item]]++;
  }
  return found;
}

function showProgress(meter, said) {
  const here = progressOf(view.list);
  const all = progressOf(tableOrder());
  const parts = here.perChoice.map((items, choice) => {
    const part = el("span", { className: data.page.choices[choice].outcome || "other" });
    part.style.width = `${(100 * items) / Math.max(1, here.open)}%`;
    return part;
  });
  meter.replaceChildren(...parts);
  const whole = here.open === all.open ? "" : `, ${count(all.decided)} of ${count(all.open)} in all`;
  const chosen = selected.size ? ` · ${plural(selected.size, "item")} selected` : "";
  said.textContent = `${count(here.decided)} of ${count(here.open)} decided, ${count(here.open - here.decided)} to go${whole}${chosen}`;
}
