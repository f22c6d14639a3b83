// The list that the gallery shows: its kind, its order, the item that keys act on, and the selection.

const view = { kind: "all", sort: "table", descending: false, list: new Uint32Array(0), block: 0, size: 200 };
let places; // of each item: its place in the list, or -1
let current = -1; // an item
let anchor = -1; // where a range begins
const selected = new Set();
let fromStart = false; // the next list begins at its first item

const SAMPLE_SIZES = [50, 100, 200, 500, 1000];

function startView() {
  places = new Int32Array(data.count).fill(-1);
  const [threshold] = data.page.thresholds;
  // What the first threshold rejects most clearly comes first.
  if (data.page.lowestFirst) view.sort = `number ${data.page.lowestFirst}`;
  else if (threshold) Object.assign(view, { sort: `number ${threshold.column}`, descending: threshold.atLeast });
  on("filters", () => {
    fromStart = true;
    refreshSoon();
  });
  on("thresholds", () => {
    fromStart ||= view.kind === "border"; // what is nearest now comes first
    refreshSoon();
  });
  refresh();
}

const refreshSoon = soon(refresh);

function refresh() {
  if (fromStart) current = -1;
  fromStart = false;
  const before = Math.max(0, places[current] ?? 0); // an item that is gone leaves its place to the next
  view.list = makeList();
  places.fill(-1);
  view.list.forEach((item, place) => (places[item] = place));
  for (const item of selected) if (places[item] < 0) selected.delete(item);
  if (current < 0 || places[current] < 0) current = view.list[Math.min(before, view.list.length - 1)] ?? -1;
  if (anchor < 0 || places[anchor] < 0) anchor = current;
  emit("list");
}

function makeList() {
  const test = filterTest();
  const kinds = {
    all: () => sorted().filter(test),
    border: () => Uint32Array.from(borderOrder().filter(test)),
    random: () => randomOrder().filter(test).slice(view.block * view.size, (view.block + 1) * view.size),
    changed: () => sorted().filter((item) => changed[item] && test(item)),
    errors: () => sorted().filter((item) => data.roles[data.outcome[item]] === "error" && test(item)),
  };
  return kinds[view.kind]();
}

function sorted() {
  if (view.sort === "table") return tableOrder();
  if (view.sort === "name") return nameOrder();
  return sortedByNumber(view.sort.slice("number ".length), view.descending);
}

function setView(change) {
  Object.assign(view, { block: 0 }, change);
  scrollToTop();
  emit("filters");
}

/** Make an item current. `extend` selects everything between it and where the range began. */
function moveTo(place, { extend = false, keepSelection = false } = {}) {
  if (!view.list.length) return;
  const target = Math.max(0, Math.min(view.list.length - 1, place));
  if (extend) {
    selected.clear();
    const [from, to] = [places[anchor], target].sort((one, other) => one - other);
    for (let between = from; between <= to; between++) selected.add(view.list[between]);
  } else {
    anchor = view.list[target];
    if (!keepSelection) selected.clear();
  }
  current = view.list[target];
  emit("current");
}

/** What a decision is about: the selection, or else the current item. */
const targets = () => (selected.size ? [...selected] : current >= 0 ? [current] : []);

/** Whether the keys act on something that a person sees; if not, bring it into sight and do no more. */
function isAimed() {
  if (current < 0 || lightbox.open || selected.size || inSight(current)) return true;
  scrollToItem(current);
  speak("This is the current item.");
  return false;
}

/** Decide about the targets and go on to the next item. */
function decideTargets(choice) {
  if (!isAimed()) return;
  const items = targets();
  const done = decide(items, choice);
  if (!done) speak("There is nothing to decide about this item.");
  else if (items.length > 1) {
    speak(`${plural(done, "item")}: ${data.page.choices[choice]?.label ?? "undecided"}`);
    selected.clear();
    emit("current");
  } else if (choice >= 0) {
    if (places[current] === view.list.length - 1) speak("That was the last item of this view.");
    moveTo(places[current] + 1);
  }
}

function toggleTargets() {
  if (!isAimed()) return;
  const groups = Map.groupBy(targets(), toggled);
  for (const [choice, items] of groups) decide(items, choice);
}

function undoAndShow() {
  const items = undo();
  const visible = items.find((item) => places[item] >= 0);
  if (!items.length) speak("Nothing to undo.");
  else if (visible === undefined) speak(`Undone: ${plural(items.length, "item")}, not in this view.`);
  else moveTo(places[visible]);
}

function moveToUndecided() {
  const from = places[current];
  const length = view.list.length;
  for (let step = 1; step <= length; step++) {
    const place = (from + step) % length;
    const item = view.list[place];
    if (decided[item] < 0 && canDecide(item)) {
      moveTo(place);
      return;
    }
  }
  speak("Everything in this view is decided.");
}
