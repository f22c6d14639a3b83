// Which items fit what a person asked for.

const filter = { outcomes: new Set(), reasons: new Set(), decided: "", ranges: new Map(), tag: "", text: "", name: "" };
let foldedNames;

const fold = (text) => text.toLowerCase();
const reasonKey = (outcome, reason) => `${outcome}\n${reason}`;

function startFilters() {
  const labels = data.label;
  foldedNames = data.names.map((name, item) => {
    const label = labels ? [labels.values[labels.codes[item]]] : [];
    return fold([name, ...label, ...(data.members?.[item].map(([other]) => other) ?? [])].join("\n"));
  });
}

/** How many kinds of filters are in use, chips and search apart. */
const filtersInUse = () => [filter.decided, filter.ranges.size, filter.tag, filter.text].filter(Boolean).length;

function clearFilters() {
  filter.outcomes.clear();
  filter.reasons.clear();
  filter.ranges.clear();
  Object.assign(filter, { decided: "", tag: "", text: "", name: "" });
  emit("filters");
}

/** The test that an item has to pass; made of the tests that are in use. */
function filterTest() {
  const tests = [
    filter.outcomes.size && ((item) => filter.outcomes.has(now[item])),
    filter.reasons.size && reasonTest(),
    filter.decided && decidedTest(filter.decided),
    filter.name && ((needle) => (item) => foldedNames[item].includes(needle))(fold(filter.name)),
    filter.tag && data.tags && tagTest(fold(filter.tag)),
    filter.text && textTest(fold(filter.text)),
    ...[...filter.ranges].map(([column, range]) => rangeTest(column, range)),
  ].filter(Boolean);
  return (item) => tests.every((test) => test(item));
}

function reasonTest() {
  const values = data.reason.values;
  return (item) => filter.reasons.has(reasonKey(data.outcome[item], values[data.reason.codes[item]]));
}

function decidedTest(wanted) {
  if (wanted === "undecided") return (item) => decided[item] < 0 && data.open[item] === 1;
  if (wanted === "decided") return (item) => decided[item] >= 0;
  return (item) => decided[item] === Number(wanted);
}

function rangeTest(column, [low, high]) {
  const values = data.numbers.get(column);
  // An item without the number fits no range.
  return (item) => (low === null || values[item] >= low) && (high === null || values[item] <= high) && !Number.isNaN(values[item]);
}

const codesWith = (dictionary, needle) => new Set(dictionary.values.flatMap((value, code) => (fold(value).includes(needle) ? [code] : [])));

function tagTest(needle) {
  const wanted = codesWith(data.tags, needle);
  return (item) => data.tags.codes[item].some((code) => wanted.has(code));
}

/** Name, content hash, reason, tag or caption. */
function textTest(needle) {
  const captioned = data.captions ? codesWith(data.captions, needle) : new Set();
  const reasons = data.reason ? codesWith(data.reason, needle) : null;
  const tagged = data.tags ? tagTest(needle) : () => false;
  return (item) =>
    foldedNames[item].includes(needle) || data.ids[item].startsWith(needle) || reasons?.has(data.reason.codes[item]) || tagged(item) ||
    data.captions?.codes[item].some((code) => captioned.has(code));
}
