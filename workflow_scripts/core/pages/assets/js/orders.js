// Orders of items. Each is made when it is first asked for.

const orders = new Map();

function remembered(key, make) {
  if (!orders.has(key)) orders.set(key, make());
  return orders.get(key);
}

const tableOrder = () => remembered("table", () => Uint32Array.from({ length: data.count }, (_, item) => item));

const nameOrder = () =>
  remembered("name", () => tableOrder().slice().sort((one, other) => (data.names[one] < data.names[other] ? -1 : 1)));

/** Items that have a number, ascending by it; then, as `missing`, those without. */
function numberOrder(column) {
  return remembered(`number ${column}`, () => {
    const values = data.numbers.get(column);
    const known = tableOrder().filter((item) => !Number.isNaN(values[item]));
    const missing = tableOrder().filter((item) => Number.isNaN(values[item]));
    return { known: known.sort((one, other) => values[one] - values[other] || one - other), missing };
  });
}

function sortedByNumber(column, descending) {
  const { known, missing } = numberOrder(column);
  const order = new Uint32Array(data.count);
  order.set(descending ? known.slice().reverse() : known);
  order.set(missing, known.length);
  return order;
}

/** Items in their random order; without those that no fair sample may hold. */
const randomOrder = () =>
  remembered("random", () => tableOrder().filter((item) => data.random[item] !== null).sort((one, other) => data.random[one] - data.random[other]));

/**
 * Items nearest to any handle first. For each threshold the sorted items are walked from the handle outwards, both ways, and
 * of all walks the nearest item comes next: no sorting while a handle is dragged.
 */
function borderOrder() {
  const walks = data.page.thresholds.flatMap(borderWalks);
  const taken = new Uint8Array(data.count);
  const order = [];
  for (;;) {
    let nearest = walks[0];
    for (const walk of walks) if (walk.distance < nearest.distance) nearest = walk;
    if (nearest.distance === Infinity) return order;
    const item = nearest.known[nearest.at];
    if (!taken[item]) order.push(item);
    taken[item] = 1;
    nearest.at += nearest.step;
    measure(nearest);
  }
}

function borderWalks({ column, grid }, number) {
  const { known } = numberOrder(column);
  const values = data.numbers.get(column);
  const value = valueOf(number);
  let above = 0;
  for (let end = known.length; above < end; ) {
    const middle = (above + end) >> 1;
    if (values[known[middle]] < value) above = middle + 1;
    else end = middle;
  }
  const walk = { known, values, value, width: grid.at(-1) - grid[0] };
  return [{ ...walk, at: above, step: 1 }, { ...walk, at: above - 1, step: -1 }].map(measure);
}

/** How far a walk's next item is from the handle, as a part of the slider's length. */
function measure(walk) {
  const inside = walk.at >= 0 && walk.at < walk.known.length;
  walk.distance = inside ? Math.abs(walk.values[walk.known[walk.at]] - walk.value) / walk.width : Infinity;
  return walk;
}
