// What a person decided: kept in the browser as it is decided, undone step by step.

let decided; // of each item: number of the choice, or -1
let decidedAt; // of each item: when, or ""
let decidedWhy; // of each item: what the workflow had said
let decidedOn; // of each item: which of its images the decision names
const strangers = new Map(); // stored decisions that fit no item here, by their key: [sha256, path, decision, reason, time]
const history = []; // steps; each is a list of states to go back to
let unsaved = false; // something was decided that the browser could not keep
let placeByKey; // [item, image] by the key of each image that a decision can name
const aimed = { item: -1, image: 0 }; // the image that a person picked for the next decision

const itemKey = (id, name) => JSON.stringify([data.page.id, id, name]);
const memberKey = (item, image) => itemKey(memberOf(item, image)[1], memberOf(item, image)[0]);
const choiceOf = (item) => data.page.choices[decided[item]];
const canDecide = (item) => data.open[item] === 1 && data.page.choices.length > 0;

/** As `set` takes it. */
const stateOf = (item) => [item, decided[item], decidedAt[item], decidedWhy[item], decidedOn[item]];
/** Which of an item's images the next decision names. */
const aimOf = (item) => (aimed.item === item ? aimed.image : decided[item] >= 0 ? decidedOn[item] : 0);
const canAim = (item, image) => canDecide(item) && memberOf(item, image)[1] !== "";

/** Pick the picture that the next decision about an item names; in place of one that none can name, the first. */
function aimAt(item, image) {
  if (!data.members || image >= Math.min(imagesOf(item), membersOf(item))) return;
  Object.assign(aimed, { item, image: canAim(item, image) ? image : 0 });
  emit("aim");
}

/** What the workflow says about an item, to stand in the exported file beside the person's decision. */
function workflowReason(item) {
  return data.page.blind ? "" : [data.outcomes[data.outcome[item]], reasonOf(item)].filter(Boolean).join(": ");
}

function startDecisions() {
  const choiceByValue = new Map(data.page.choices.map((choice, number) => [choice.value, number]));
  decided = new Int16Array(data.count).fill(-1);
  decidedAt = new Array(data.count).fill("");
  decidedWhy = new Array(data.count).fill("");
  decidedOn = new Uint16Array(data.count);
  placeByKey = new Map(data.names.map((name, item) => [itemKey(data.ids[item], name), [item, 0]]));
  for (let item = 0; item < data.count; item++) {
    for (let image = 1; image < membersOf(item); image++) if (canAim(item, image)) placeByKey.set(memberKey(item, image), [item, image]);
  }
  if (data.decision) {
    for (let item = 0; item < data.count; item++) {
      decided[item] = data.open[item] ? (choiceByValue.get(data.decision.values[data.decision.codes[item]]) ?? -1) : -1;
      if (decided[item] >= 0) decidedWhy[item] = workflowReason(item);
    }
  }
  storageWorks = store("probe", "1") && store("probe", null);
  const found = new Set();
  for (const [key, value, when, why] of readStored()) {
    const [item, image] = placeByKey.get(key) ?? [];
    const [, id, name] = JSON.parse(key);
    if (item === undefined || found.has(item) || (value && !choiceByValue.has(value)) || !data.open[item]) {
      if (value) strangers.set(key, [id, name, value, why, when]);
    } else {
      found.add(item);
      history.push([stateOf(item)]);
      set(item, choiceByValue.get(value) ?? -1, when, why, image);
    }
  }
  addEventListener("storage", followOtherTab);
  addEventListener("beforeunload", (event) => unsaved && event.preventDefault());
  tellStorage();
}

/** A stored state as [value, when, why]; null when it is not of this page's making. */
function parseState(text) {
  try {
    const [value, when, why] = JSON.parse(text);
    return [value, when, why].map(String);
  } catch {
    return null;
  }
}

/** What was stored for this page as [key, value, when, why], in the order in which it was decided. */
function readStored() {
  const own = `[${JSON.stringify(data.page.id)},`;
  const read = storedEntries().flatMap(([key, text]) => {
    if (!key.startsWith(own)) return [];
    const state = parseState(text);
    return state ? [[key, ...state]] : [];
  });
  return read.sort((one, other) => (one[2] < other[2] ? -1 : one[2] > other[2] ? 1 : 0));
}

function set(item, choice, when, why, image) {
  decided[item] = choice;
  decidedAt[item] = when;
  decidedWhy[item] = why;
  decidedOn[item] = image;
}

/** Give an item a state, and keep it in the browser. */
function change(item, choice, when, why, image) {
  if (image !== decidedOn[item]) store(memberKey(item, decidedOn[item]), null);
  set(item, choice, when, why, image);
  storeState(memberKey(item, image), [choiceOf(item)?.value ?? "", when, why]);
}

function storeState(key, state) {
  if (store(key, JSON.stringify(state))) return;
  storageWorks = false;
  unsaved = true;
}

/** Take a decision about items (choice -1: take it back) as one step; gives how many it was about. */
function decide(items, choice, when = new Date().toISOString().slice(0, 19) + "Z", why = null) {
  const step = [];
  for (const item of items) {
    if (!canDecide(item)) continue;
    step.push(stateOf(item));
    change(item, choice, when, why?.(item) ?? workflowReason(item), aimOf(item));
  }
  if (step.length) history.push(step);
  afterDeciding(step);
  return step.length;
}

/** Go one step back; gives the items of that step. */
function undo() {
  const step = history.pop() ?? [];
  for (const state of step) change(...state);
  afterDeciding(step);
  return step.map(([item]) => item);
}

function afterDeciding(step) {
  for (const [item] of step) judgeOne(item);
  tellStorage();
  if (step.length) emit("decisions");
}

/** The other of the first two choices; for an undecided item the one against its outcome. */
function toggled(item) {
  if (decided[item] >= 0) return decided[item] === 0 ? Math.min(1, data.page.choices.length - 1) : 0;
  const against = data.roles[now[item]] === "kept" && !data.page.blind ? "rejected" : "kept";
  return Math.max(0, data.page.choices.findIndex((choice) => choice.outcome === against));
}

/** Another tab with the same page decided something. */
function followOtherTab(event) {
  const [item, image] = placeByKey.get(event.key?.slice(STORE.length)) ?? [];
  const state = parseState(event.newValue);
  if (item === undefined || !state) return;
  const [value, when, why] = state;
  set(item, data.page.choices.findIndex((choice) => choice.value === value), when, why, image);
  judgeOne(item);
  emit("decisions");
}

function tellStorage() {
  const text = "This browser does not keep your decisions (its storage is closed or full). Go on, but export before you close the page.";
  if (Boolean(byId("notice-storage")) !== !storageWorks) notice("storage", storageWorks ? "" : text);
}
