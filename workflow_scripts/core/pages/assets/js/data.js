// The page's data as columns. An item is a row number everywhere.

let data;

function readData(raw) {
  const { items, pictures } = raw;
  const zeros = () => new Uint8Array(items.name.length);
  data = {
    count: items.name.length,
    page: raw.page,
    totals: raw.totals,
    roles: raw.outcomes.map(([, role]) => role),
    outcomes: raw.outcomes.map(([name]) => name),
    ids: items.id,
    names: items.name,
    open: Uint8Array.from(items.open),
    random: items.random,
    outcome: Uint16Array.from(items.outcome ?? zeros()),
    reason: items.reason ?? null,
    movable: Uint8Array.from(items.movable ?? zeros()),
    person: Uint8Array.from(items.person ?? zeros()),
    numbers: new Map(Object.entries(items.numbers ?? {}).map(([name, values]) => [name, Float64Array.from(values, (value) => value ?? NaN)])),
    label: items.label,
    tags: items.tags,
    boxes: items.boxes,
    captions: items.captions,
    members: items.members,
    links: items.links,
    decision: items.decision,
    pictures,
    perItem: pictures.items.reduce((most, row) => Math.max(most, row.length), 1),
  };
}

const lastPart = (name) => name.slice(name.lastIndexOf("/") + 1) || name;
const reasonOf = (item) => (data.reason ? data.reason.values[data.reason.codes[item]] : "");
/** What stands under an item's pictures: its label, or else the last part of its name; folders are the same for many items. */
const shortName = (item) => (data.label && data.label.values[data.label.codes[item]]) || lastPart(data.names[item]);
const tagsOf = (item) => (data.tags ? data.tags.codes[item].map((code) => data.tags.values[code]) : []);
const boxesOf = (item, image) => (data.boxes ? data.boxes[item].filter((box) => box[0] === image) : []);
const numberText = (number, item) => {
  const value = data.numbers.get(number.column)[item];
  return Number.isNaN(value) ? "–" : value.toFixed(number.digits);
};
const imagesOf = (item) => Math.max(1, data.pictures.items[item].length);
const captionOf = (item, image) => data.captions?.values[data.captions.codes[item][image]] ?? data.page.captions[image] ?? "";
/** How many images an item stands for, those without a place on the page among them. */
const membersOf = (item) => 1 + (data.members?.[item].length ?? 0);
/** Name and id of one of them; those of the first are the item's own. */
const memberOf = (item, image) => (image ? data.members[item][image - 1] : [data.names[item], data.ids[item]]);
/** What a picture shows, for who cannot see it. */
const alternativeOf = (item, image) => [captionOf(item, image), memberOf(item, image < membersOf(item) ? image : 0)[0]].filter(Boolean).join(": ");

/** The address of an item's original, or null where there is none that a page may lead to. */
function linkOf(item, image) {
  const { prefix, rest, more } = data.links;
  const link = image === 0 ? (rest[item] === null ? "" : prefix + rest[item]) : more?.[item][image - 1];
  if (!link || /^[\\/]{2}/.test(link.trim())) return null;
  try {
    const url = new URL(link, location.href);
    // A file: address with a host is another machine's share: opening it would use the network.
    const allowed = url.protocol === "file:" ? url.host === "" : url.protocol === "https:" || url.protocol === "http:";
    return allowed ? url : null;
  } catch {
    return null;
  }
}

/** Whether the page can show what is at an address: files from a page on disk, or what stands beside a served page. */
function canShow(url) {
  return url !== null && (location.protocol === "file:" ? url.protocol === "file:" : url.origin === location.origin);
}

/** Where an item's thumbnail stands in its sheet; null where there is none, with `why`. */
function pictureOf(item, image) {
  const place = data.pictures.items[item][image];
  const { widths, heights, cell, columns, perSheet } = data.pictures;
  if (place === undefined || place < -1) return { why: "no picture" };
  if (place < 0) return { why: "picture not included" };
  if (widths[place] <= 0) return { why: widths[place] < 0 ? "picture unreadable" : "no picture" };
  const inSheet = place % perSheet;
  return {
    sheet: `sheets/${String(Math.floor(place / perSheet)).padStart(3, "0")}.webp`,
    x: (inSheet % columns) * cell,
    y: Math.floor(inSheet / columns) * cell,
    width: widths[place],
    height: heights[place],
    sheetWidth: cell * Math.min(columns, Math.min(perSheet, widths.length - place + inSheet)),
  };
}
