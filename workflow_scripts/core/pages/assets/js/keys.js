// The keyboard. Keys act on the gallery unless a person is typing or a control wants the key itself.

let byPointer = false; // how a person came to the control that has the focus

/** After a control was used with the mouse the keys act on the gallery again; who came by keyboard stays where they are. */
function giveFocusBack() {
  addEventListener("pointerdown", () => (byPointer = true), true);
  addEventListener("keydown", () => (byPointer = false), true);
  const controls = {
    click: "#toolbar button, aside button, #bar button, #help-button, .panel summary, .lightbox-buttons button",
    change: "#toolbar > select, .sample select",
  };
  for (const [event, selector] of Object.entries(controls)) {
    const giveBack = ({ target }) => byPointer && target.closest(selector) && (lightbox.open ? stage : gallery).focus({ preventScroll: true });
    document.addEventListener(event, giveBack, true); // before the dialog opens that gives the focus back to where it was
  }
}

function startKeys() {
  giveFocusBack();
  byId("help-button").addEventListener("click", openHelp);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target } = event;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && target.type !== "checkbox") {
      if (event.key === "Escape" && target.id === "search") gallery.focus({ preventScroll: true });
      return;
    }
    if (byId("sheet").open) return;
    if ((event.key === "Enter" || event.key === " ") && target.closest("button, a, summary, input")) return;
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function actionOf({ key, shiftKey }) {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -shape.columns, ArrowDown: shape.columns }[key];
  // In the lightbox there are no rows: up and down are previous and next.
  if (by) return () => moveTo(places[current] + (lightbox.open ? Math.sign(by) : by), { extend: shiftKey && !lightbox.open });
  const page = { PageUp: -1, PageDown: 1 }[key];
  if (page) return () => moveTo(places[current] + page * shape.columns * rowsInSight());
  const choice = data.page.choices.findIndex((each) => each.key === key.toLowerCase());
  if (choice >= 0) return () => decideTargets(choice);
  if (data.members && /^[1-9]$/.test(key)) return () => current >= 0 && aimAt(current, Number(key) - 1);
  return {
    Home: () => moveTo(0),
    End: () => moveTo(view.list.length - 1),
    Enter: openLightbox,
    Escape: lightbox.open ? () => lightbox.close() : selected.size ? () => moveTo(places[current]) : null,
    "/": lightbox.open ? null : () => byId("search").select(),
    "?": openHelp,
    ...(data.page.choices.length ? { " ": toggleTargets, u: undoAndShow, n: moveToUndecided, Backspace: () => decideTargets(-1), Delete: () => decideTargets(-1) } : {}),
  }[key.length === 1 ? key.toLowerCase() : key];
}

function openHelp() {
  const deciding = [
    ...data.page.choices.map((choice) => [choice.key, `${choice.label}, then go to the next item`]),
    ...(data.members ? [["1 … 9", "decide about this picture of the row, not about the first; so does a click on it"]] : []),
    ["Space", "toggle between the first two choices"],
    ["u", "undo, as far back as you like"],
    ["Backspace", "take the decision back"],
    ["n", "next undecided item"],
  ];
  const keys = [
    ["← → ↑ ↓", "move; with Shift select a range"],
    ["Enter", "open the item large; click it there for its own pixels"],
    ["Esc", "close; give up the selection; leave the search"],
    ...(data.page.choices.length ? deciding : []),
    ["/", "search by name"],
    ["Home, End, Page ↑ ↓", "go far"],
    ["?", "this list"],
  ];
  const mouse = "Click selects, Shift-click selects a range, Ctrl-click adds one item, double click opens. On a threshold's handle the arrow keys move it step by step.";
  openSheet("Keys", el("table", { className: "keys" }, ...keys.map(([key, text]) => el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, text)))), el("p", {}, mouse));
}
