// What the thresholds decide where their handles stand, and what would change.

const REMOVED = 1; // the handles would remove it
const RETURNED = 2; // they would bring it back
const positions = []; // of each threshold: a place in its grid
const tally = [0, 0, 0]; // how many items are unchanged, removed, returned
let handles = []; // of each threshold: its column, where its handle stands, and its direction
let now; // outcome of each item, as a number in data.outcomes
let changed; // of each item: 0, REMOVED or RETURNED

function startOutcomes() {
  for (const threshold of data.page.thresholds) positions.push(threshold.grid.indexOf(threshold.value));
  now = new Uint16Array(data.count);
  changed = new Uint8Array(data.count);
  tally[0] = data.count;
  judge();
}

const valueOf = (number) => data.page.thresholds[number].grid[positions[number]];
const isMoved = (number) => valueOf(number) !== data.page.thresholds[number].value;
const movedThresholds = () => data.page.thresholds.map((_, number) => number).filter(isMoved);
const codeOf = (role) => data.roles.indexOf(role);
const nameOf = (role) => data.outcomes[codeOf(role)] ?? role;
const shownName = (outcome) => outcome.replaceAll("_", " ");

/** Whether any threshold rejects an item where the handles stand; a missing number is never rejected. */
function isRejected(item) {
  for (const { values, value, atLeast } of handles) {
    if (atLeast ? values[item] >= value : values[item] < value) return true;
  }
  return false;
}

/** The outcome of an item that has a role now: its own where that fits, else the first with that role. */
function outcomeWithRole(item, role) {
  const own = data.outcome[item];
  return data.roles[own] === role || codeOf(role) < 0 ? own : codeOf(role);
}

/** Decide about every item anew. */
function judge() {
  handles = data.page.thresholds.map(({ column, atLeast }, number) => ({ values: data.numbers.get(column), value: valueOf(number), atLeast }));
  for (let item = 0; item < data.count; item++) judgeOne(item);
}

/** Where no handle was moved nothing changes: Python calls an item movable only where its outcome is what the thresholds say. */
function judgeOne(item) {
  const own = data.outcome[item];
  let change = 0;
  now[item] = own;
  if (decided[item] >= 0) {
    const { outcome } = choiceOf(item);
    if (outcome) now[item] = outcomeWithRole(item, outcome);
  } else if (data.movable[item]) {
    const rejected = isRejected(item);
    if (rejected !== (data.roles[own] === "rejected")) {
      change = rejected ? REMOVED : RETURNED;
      now[item] = outcomeWithRole(item, rejected ? "rejected" : "kept");
    }
  }
  tally[changed[item]]--;
  tally[change]++;
  changed[item] = change;
}

/** How many items would change, over all rows of the table where that can be known (`exact`). */
function wouldChange() {
  const moved = movedThresholds();
  const { changes } = data.totals;
  const found = { removed: tally[REMOVED], returned: tally[RETURNED], exact: !changes || moved.length <= 1 };
  if (!changes || moved.length !== 1) return found;
  const place = positions[moved[0]];
  const decidedHere = changesDecidedHere();
  found.removed = changes[moved[0]].removed[place] - decidedHere[REMOVED];
  found.returned = changes[moved[0]].returned[place] - decidedHere[RETURNED];
  return found;
}

/** Items that the handles would change if a person had not decided about them on this page. */
function changesDecidedHere() {
  const found = [0, 0, 0];
  for (let item = 0; item < data.count; item++) {
    if (decided[item] < 0 || !data.movable[item]) continue;
    const wasRejected = data.roles[data.outcome[item]] === "rejected";
    if (isRejected(item) !== wasRejected) found[wasRejected ? RETURNED : REMOVED]++;
  }
  return found;
}

/** How many rows have each outcome where the handles stand, with what was decided on this page. */
function outcomeCounts() {
  const counts = data.totals.outcomes.slice();
  for (let item = 0; item < data.count; item++) {
    if (now[item] === data.outcome[item]) continue;
    counts[data.outcome[item]]--;
    counts[now[item]]++;
  }
  // Rows that are not shown change from the first outcome of one role to the first of the other.
  const { removed, returned } = wouldChange();
  const hidden = removed - tally[REMOVED] - (returned - tally[RETURNED]);
  if (hidden) {
    counts[codeOf("kept")] -= hidden;
    counts[codeOf("rejected")] += hidden;
  }
  return counts;
}
