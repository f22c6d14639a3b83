// One item as large as it can be shown, with everything that is known about it.

const ENLARGE = 4; // times, at most
const WORDS = 20; // pixels: a line under a picture
let lightbox;
let stage;
let details;
let generation = 0; // of what is shown: an original that arrives late belongs to another item

function startLightbox() {
  lightbox = byId("lightbox");
  stage = el("div", { className: "stage", tabIndex: -1 });
  details = el("div", { className: "details" });
  const step = (by) => () => moveTo(places[current] + by);
  const buttons = el(
    "div",
    { className: "lightbox-buttons" },
    el("button", { type: "button", "aria-label": "Previous", onclick: step(-1) }, "←"),
    el("button", { type: "button", "aria-label": "Next", onclick: step(1) }, "→"),
    el("span", { className: "place" }),
    el("button", { type: "button", className: "close", onclick: () => lightbox.close() }, "Close ", el("kbd", {}, "Esc")),
    data.page.choices.length ? el("div", { className: "choices" }, ...choiceButtons(), keyButton("Undo", "u", undoAndShow)) : null,
  );
  lightbox.append(stage, el("div", { className: "beside" }, buttons, details));
  lightbox.addEventListener("close", () => stage.replaceChildren());
  on("current", () => lightbox.open && showLarge());
  on("decisions", () => lightbox.open && showDetails());
  on("aim", () => lightbox.open && showAim());
  on("thresholds", () => lightbox.open && showDetails());
  addEventListener("resize", () => lightbox.open && showLarge());
}

function openLightbox() {
  if (current < 0) return;
  if (!lightbox.open) lightbox.showModal();
  stage.focus(); // or the keys would act on the first button
  showLarge();
}

function showLarge() {
  generation++;
  showDetails();
  stage.classList.remove("zoomed");
  const images = imagesOf(current);
  stage.replaceChildren(...Array.from({ length: images }, (_, image) => largePicture(current, image)));
  const columns = columnsFor(images);
  stage.style.setProperty("--columns", columns);
  const [width, height] = [stage.clientWidth / columns - 16, stage.clientHeight / Math.ceil(images / columns) - WORDS];
  for (const figure of stage.children) figure.fit(width, height - roomOf(figure.lastChild));
  showAim();
  fetchAhead(view.list[places[current] + 1]);
}

/** What a picture leaves to its words: a line, or all lines of a long caption and one for what is said of the picture. */
function roomOf({ offsetHeight }) {
  return offsetHeight > 1.5 * WORDS ? offsetHeight + WORDS : WORDS;
}

/** Up to three pictures stand in one line, more in two; on a narrow window one below the other. */
function columnsFor(images) {
  const lines = images > 3 ? 2 : 1;
  return matchMedia("(max-width: 900px)").matches ? lines : Math.ceil(images / lines);
}

/** Mark the picture that the next decision names. */
function showAim() {
  [...stage.children].forEach((figure, image) => figure.classList.toggle("aimed", membersOf(current) > 1 && image === aimOf(current)));
}

/** Have the next original ready when a person gets there. */
function fetchAhead(item) {
  const url = item === undefined ? null : linkOf(item, 0);
  if (canShow(url)) new Image().src = url.href;
}

/** A figure that shows the thumbnail at once and the original as soon as it is there. */
function largePicture(item, image) {
  const thumb = el("div", { className: "thumb" });
  const said = el("span", { className: "said" });
  const figure = el("figure", {}, thumb, el("figcaption", { onclick: () => aimAt(item, image) }, captionOf(item, image), " ", said));
  const url = linkOf(item, image);
  figure.fit = (width, height) => {
    drawThumbnail(thumb, item, image, width, height, ENLARGE);
    said.textContent = thumb.classList.contains("blank") ? "" : "thumbnail enlarged";
    if (canShow(url)) showOriginal({ url, thumb, said, item, image, width, height });
    else if (url) said.textContent += "; the original is elsewhere";
  };
  return figure;
}

function showOriginal({ url, thumb, said, item, image, width, height }) {
  const mine = generation;
  const original = el("img", { alt: alternativeOf(item, image) });
  original.addEventListener("load", () => {
    if (mine !== generation) return;
    const { naturalWidth, naturalHeight } = original;
    const scale = Math.min(width / naturalWidth, height / naturalHeight, ENLARGE);
    thumb.className = "thumb original";
    thumb.removeAttribute("role");
    thumb.removeAttribute("aria-label");
    thumb.style.cssText = "";
    Object.assign(thumb.style, { width: `${naturalWidth * scale}px`, height: `${naturalHeight * scale}px` });
    thumb.replaceChildren(original);
    drawBoxes(thumb, item, image);
    thumb.onclick = () => zoom(thumb, scale, naturalWidth, naturalHeight);
    said.textContent = `full image, ${naturalWidth} × ${naturalHeight}`;
  });
  original.addEventListener("error", () => {
    if (mine === generation) said.textContent = [said.textContent, "the original cannot be reached from here"].filter(Boolean).join("; ");
  });
  original.src = url.href;
}

/** A click shows the original pixel by pixel, and another the whole again. */
function zoom(thumb, scale, width, height) {
  const zoomed = stage.classList.toggle("zoomed");
  const factor = zoomed ? Math.max(1, scale) : scale;
  Object.assign(thumb.style, { width: `${width * factor}px`, height: `${height * factor}px` });
}

function showDetails() {
  const fields = [];
  const field = (name, ...content) => fields.push(el("dt", {}, name), el("dd", {}, ...content));
  if (!data.page.blind && reasonOf(current)) field("Reason", reasonOf(current));
  for (const number of data.page.numbers) field(number.label, numberText(number, current));
  if (tagsOf(current).length) field("Tags", ...tagsOf(current).map((tag) => el("span", { className: "tag" }, tag)));
  if (decidedAt[current]) field("Decided", decidedAt[current]);
  if (data.ids[current]) field("sha256", el("code", {}, data.ids[current]));
  const line = moveLine(current);
  lightbox.querySelector(".place").textContent = `${count(places[current] + 1)} of ${count(view.list.length)}`;
  details.replaceChildren(
    el("h2", {}, data.names[current]),
    el("div", { className: "badges" }, ...badges(current)),
    el("dl", {}, ...fields),
    membersOf(current) > 1 ? memberList(current) : "",
    el("p", { className: "links" }, ...originalLinks()),
    isRejectedByPerson(current) && line ? copyable(line, "Copy mv line") : "",
  );
}

/** The names of all images of an item. */
function memberList(item) {
  const line = (_, image) => el("li", {}, el("span", { className: "said" }, captionOf(item, image)), " ", lastPart(memberOf(item, image)[0]));
  return el("ul", { className: "members", "aria-label": "All images" }, ...Array.from({ length: membersOf(item) }, line));
}

function originalLinks() {
  const images = imagesOf(current);
  return Array.from({ length: images }, (_, image) => {
    const url = linkOf(current, image);
    const text = images > 1 ? `Open ${captionOf(current, image) || `image ${image + 1}`}` : "Open original";
    return url && el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, text);
  }).filter(Boolean);
}
