// The virtual gallery: of a list of any length only the cells in sight are in the document.

const SIZES = { small: 96, medium: 160, large: 256 };
const GAP = 8;
const PADDING = 4; // inside a cell
const LINE = 18; // of the words under a picture
const MOST_ABREAST = 4; // pictures of full size in a row; where there are more, they are smaller
const NARROW = 110; // pixels; under smaller pictures a caption has two lines
const LETTER = 6; // pixels that a letter of a caption takes, about
const MOST_LINES = 4; // of a caption
const LIST_ROW = 72;
const OVERSCAN = 1; // rows beyond the edges
const TALLEST = 12_000_000; // pixels; browsers cut off documents somewhere above
const cells = new Map(); // by place in the list
const spare = [];
let gallery;
let shape = { columns: 1, width: 0, row: 1, side: 0, list: false, captions: false };
let size = stored("size") in SIZES ? stored("size") : "medium";
let galleryWidth = 0;
const drawSoon = soon(draw);

function startGrid() {
  gallery = byId("gallery");
  addEventListener("scroll", drawSoon, { passive: true });
  new ResizeObserver(() => {
    galleryWidth = gallery.clientWidth;
    layOut();
  }).observe(gallery);
  on("list", layOut);
  for (const event of ["decisions", "aim"]) on(event, drawSoon);
  on("current", () => {
    scrollToItem(current);
    drawSoon();
  });
  gallery.addEventListener("click", clickCell);
  gallery.addEventListener("dblclick", (event) => cellAt(event) && openLightbox());
  galleryWidth = gallery.clientWidth;
  layOut();
}

function setSize(name) {
  size = name;
  store("size", name);
  const kept = current;
  layOut();
  scrollToItem(kept);
}

/** Work out columns and rows for the width that there is. */
function layOut() {
  const list = view.kind === "errors";
  const captions = size !== "small" && (data.captions !== null || data.page.captions.some(Boolean));
  const images = Math.min(MOST_ABREAST, data.perItem);
  const wanted = SIZES[size] * images + 2 * PADDING;
  const columns = list ? 1 : Math.max(1, Math.floor((galleryWidth + GAP) / (wanted + GAP)));
  const cell = (galleryWidth - GAP * (columns - 1)) / columns;
  const side = list ? LIST_ROW - GAP - 2 * PADDING : Math.floor((cell - 2 * PADDING) / images) - (images > 1 ? PADDING : 0);
  const words = size === "small" ? 0 : LINE * (data.page.numbers.length ? 2 : 1) + 2 * PADDING;
  const caption = captions ? LINE * captionLines(cell / data.perItem) : 0;
  const row = list ? LIST_ROW : side + words + caption + 2 * PADDING + GAP;
  shape = { columns, width: cell, row, side, list, captions: captions && !list };
  gallery.dataset.size = list ? "list" : size;
  gallery.style.setProperty("--words", `${words}px`);
  gallery.style.setProperty("--caption-lines", caption / LINE);
  gallery.style.height = `${Math.min(TALLEST, rowCount() * row)}px`;
  byId("empty").hidden = view.list.length > 0;
  byId("empty").textContent = emptyText();
  draw();
}

/** How many lines captions of this width have: the text of a single picture is there to be read. */
function captionLines(width) {
  const least = width < NARROW ? 2 : 1;
  if (data.perItem > 1 || data.captions === null) return least;
  const longest = data.captions.values.reduce((most, text) => Math.max(most, text.length), 0);
  return Math.max(least, Math.min(MOST_LINES, Math.ceil((longest * LETTER) / width)));
}

function emptyText() {
  if (!data.count) return "There is nothing to show.";
  const isChanged = view.kind !== "changed" || tally[REMOVED] || tally[RETURNED];
  return isChanged ? "Nothing fits these filters." : "Nothing would change: drag the handle of a threshold.";
}

const rowCount = () => Math.ceil(view.list.length / shape.columns);

/** What of the list is in sight, in pixels of the list. A list that is too tall for a document is scrolled through faster. */
function sight() {
  const top = Math.max(0, -gallery.getBoundingClientRect().top);
  const full = rowCount() * shape.row;
  const drawn = Math.min(TALLEST, full);
  const factor = drawn < full ? (full - innerHeight) / (drawn - innerHeight) : 1;
  return { top: Math.min(top * factor, Math.max(0, full - 1)), shift: top - top * factor, factor };
}

function draw() {
  const { top, shift } = sight();
  const first = Math.max(0, Math.floor(top / shape.row) - OVERSCAN);
  const last = Math.min(rowCount(), Math.ceil((top + innerHeight) / shape.row) + OVERSCAN);
  const from = first * shape.columns;
  const to = Math.min(view.list.length, last * shape.columns);
  for (const [place, cell] of cells) {
    if (place >= from && place < to && view.list[place] === cell.item) continue;
    cells.delete(place);
    spare.push(cell);
  }
  for (let place = from; place < to; place++) drawCell(place, shift);
  for (const cell of spare) cell.node.remove();
  spare.length = 0;
  gallery.setAttribute("aria-activedescendant", cells.has(places[current]) ? `item-${current}` : "");
}

function drawCell(place, shift) {
  const item = view.list[place];
  let cell = cells.get(place);
  if (!cell) {
    cell = spare.pop() ?? makeCell();
    cells.set(place, cell);
    if (!cell.node.isConnected) gallery.append(cell.node);
  }
  showInCell(cell, item, place, shape);
  const x = (place % shape.columns) * (shape.width + GAP);
  const y = Math.floor(place / shape.columns) * shape.row + shift;
  Object.assign(cell.node.style, { transform: `translate(${x}px, ${y}px)`, width: `${shape.width}px`, height: `${shape.row - GAP}px` });
}

/** Bring an item between the bars at the top and at the bottom. */
function scrollToItem(item) {
  const place = places[item] ?? -1;
  if (place < 0) return;
  const { factor } = sight();
  const start = gallery.getBoundingClientRect().top;
  const y = Math.floor(place / shape.columns) * shape.row;
  const { upper, lower } = windowEdges();
  let wanted; // pixels of the list above the window's edge
  if (onScreen(place) < upper) wanted = y - upper - GAP;
  else if (onScreen(place) + shape.row > lower) wanted = y + shape.row - lower + GAP;
  else return;
  scrollTo({ top: scrollY + start + (wanted > 0 ? wanted / factor : wanted), behavior: "instant" });
}

/** What of the window the bars leave free. */
function windowEdges() {
  return { upper: Math.max(0, byId("toolbar").getBoundingClientRect().bottom), lower: innerHeight - (byId("bar")?.offsetHeight ?? 0) };
}

/** Where in the window the top of a cell is, in pixels, whether it is drawn yet or not: keys may come faster than the page draws. */
function onScreen(place) {
  return Math.floor(place / shape.columns) * shape.row - sight().top + Math.max(0, gallery.getBoundingClientRect().top);
}

/** Whether a person can see an item, at least in part. */
function inSight(item) {
  if (places[item] < 0) return false;
  const { upper, lower } = windowEdges();
  const top = onScreen(places[item]);
  return top + shape.row - GAP > upper && top < lower;
}

function scrollToTop() {
  const top = byId("toolbar").parentElement.getBoundingClientRect().top;
  if (top < 0) scrollBy({ top, behavior: "instant" });
}

const rowsInSight = () => Math.max(1, Math.floor((innerHeight - byId("toolbar").offsetHeight) / shape.row) - 1);

function cellAt(event) {
  const node = event.target.closest(".cell");
  return node && [...cells.values()].find((cell) => cell.node === node);
}

function clickCell(event) {
  const cell = cellAt(event);
  if (!cell) return;
  const place = places[cell.item];
  if (event.shiftKey) moveTo(place, { extend: true });
  else if (event.ctrlKey || event.metaKey) {
    if (!selected.size && current >= 0) selected.add(current);
    if (!selected.delete(cell.item)) selected.add(cell.item);
    moveTo(place, { keepSelection: true });
  } else {
    moveTo(place);
    const frame = event.target.closest(".frame");
    if (frame) aimAt(cell.item, [...frame.parentElement.children].indexOf(frame));
    if (event.pointerType === "touch") openLightbox();
  }
}
