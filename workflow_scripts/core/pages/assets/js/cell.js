// One item in the gallery, and how pictures, boxes and badges are drawn.

const LABELLED = 96; // pixels; on smaller pictures the label of a box would hide what is in it
const SIGNS = { kept: "✓", rejected: "✕", "": "•" };

/** Cut a thumbnail out of its sheet into a node, as large as fits. */
function drawThumbnail(node, item, image, width, height, enlarge = 2) {
  const picture = pictureOf(item, image);
  node.replaceChildren();
  node.classList.toggle("blank", "why" in picture);
  if ("why" in picture) {
    node.style.cssText = "";
    node.removeAttribute("role");
    node.removeAttribute("aria-label");
    node.append(el("span", {}, picture.why));
    return;
  }
  const scale = Math.min(width / picture.width, height / picture.height, enlarge);
  const shown = [picture.width * scale, picture.height * scale];
  // Half a pixel at the edges is left out: a scaled cut would take in the neighbour's colours there.
  const zoom = Math.max(shown[0] / Math.max(1, picture.width - 1), shown[1] / Math.max(1, picture.height - 1));
  Object.assign(node.style, {
    width: `${shown[0]}px`,
    height: `${shown[1]}px`,
    backgroundImage: `url("${picture.sheet}")`,
    backgroundSize: `${picture.sheetWidth * zoom}px auto`,
    backgroundPosition: `${-(picture.x + 0.5) * zoom}px ${-(picture.y + 0.5) * zoom}px`,
  });
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", alternativeOf(item, image));
  drawBoxes(node, item, image);
}

function drawBoxes(node, item, image) {
  const roomy = parseFloat(node.style.width) >= LABELLED;
  for (const [, x0, y0, x1, y1, label] of boxesOf(item, image)) {
    const box = el("div", { className: "box" }, label && roomy ? el("span", {}, label) : null);
    Object.assign(box.style, { left: `${x0 * 100}%`, top: `${y0 * 100}%`, width: `${(x1 - x0) * 100}%`, height: `${(y1 - y0) * 100}%` });
    node.append(box);
  }
}

/** The badges of an item: its outcome where the handles stand, and what a person decided. */
function badges(item) {
  const choice = choiceOf(item);
  const found = [];
  if (!data.page.blind) {
    const name = shownName(data.outcomes[now[item]]);
    const text = changed[item] ? `${shownName(data.outcomes[data.outcome[item]])} → ${name}` : name;
    found.push(el("span", { className: `badge ${data.roles[now[item]]}${changed[item] ? " moved" : ""}` }, text));
  }
  if (choice) {
    const sign = el("b", { "aria-hidden": "true" }, SIGNS[choice.outcome]);
    const on = decidedOn[item] ? `: ${captionOf(item, decidedOn[item])}` : "";
    found.push(el("span", { className: `badge decision ${choice.outcome || "other"}` }, sign, el("span", {}, `${choice.label}${on}`)));
  }
  return found;
}

/** Errors have a text instead of numbers; so has what got none where others have them. */
function wordsOf(item, roomy) {
  const { numbers } = data.page;
  const without = numbers.length > 0 && numbers.every(({ column }) => Number.isNaN(data.numbers.get(column)[item]));
  return without || data.roles[data.outcome[item]] === "error" ? reasonOf(item) : factsOf(item, roomy);
}

/** The number that the list is sorted by, or the first; all where there is room. */
function factsOf(item, roomy) {
  const { numbers } = data.page;
  const shown = roomy ? numbers : [numbers.find(({ column }) => view.sort === `number ${column}`) ?? numbers[0]].filter(Boolean);
  return shown.map((number) => `${number.label} ${numberText(number, item)}`).join(" · ");
}

/** A cell that can show one item after another. */
function makeCell() {
  const parts = {
    pictures: el("div", { className: "pictures" }),
    badges: el("div", { className: "badges" }),
    name: el("div", { className: "name" }),
    facts: el("div", { className: "facts" }),
  };
  const node = el("div", { className: "cell", role: "option" }, parts.pictures, parts.badges, el("div", { className: "words" }, parts.name, parts.facts));
  return { node, parts, item: -1, drawn: "", state: "" };
}

/** Show an item in a cell; only what changed is drawn anew. */
function showInCell(cell, item, place, shape) {
  const { node, parts } = cell;
  const drawn = `${item} ${shape.width} ${shape.list} ${size} ${view.sort}`;
  if (cell.drawn !== drawn) {
    cell.drawn = drawn;
    cell.item = item;
    drawPictures(parts.pictures, item, shape);
    parts.name.textContent = shape.list ? data.names[item] : shortName(item);
    node.title = data.names[item];
    parts.facts.textContent = wordsOf(item, shape.list || size === "large");
  }
  const aim = item === current ? aimOf(item) : -1;
  const state = `${place} ${view.list.length} ${now[item]} ${changed[item]} ${decided[item]} ${decidedOn[item]} ${aim} ${selected.has(item)}`;
  if (cell.state === `${item} ${state}`) return;
  cell.state = `${item} ${state}`;
  const choice = choiceOf(item);
  node.className = ["cell", choice && `decided-${choice.outcome || "other"}`, item === current && "current", selected.has(item) && "selected"]
    .filter(Boolean)
    .join(" ");
  [...parts.pictures.children].forEach((frame, image) => frame.classList.toggle("aimed", image === aim && membersOf(item) > 1));
  parts.badges.replaceChildren(...badges(item));
  node.id = `item-${item}`;
  node.setAttribute("aria-selected", String(item === current || selected.has(item)));
  node.setAttribute("aria-posinset", place + 1);
  node.setAttribute("aria-setsize", view.list.length);
  node.setAttribute("aria-label", [data.names[item], ...[...parts.badges.children].map((badge) => badge.textContent)].join(", "));
}

function drawPictures(row, item, shape) {
  const images = shape.list ? 1 : imagesOf(item);
  const side = Math.min(shape.side, Math.floor((shape.width - 2 * PADDING) / images) - (images > 1 ? PADDING : 0));
  while (row.children.length > images) row.lastChild.remove();
  while (row.children.length < images) row.append(el("div", { className: "frame" }, el("div", { className: "thumb" }), el("div", { className: "caption" })));
  [...row.children].forEach(({ children: [thumb, caption] }, image) => {
    drawThumbnail(thumb, item, image, side, shape.side);
    caption.textContent = shape.captions ? captionOf(item, image) : "";
  });
}
