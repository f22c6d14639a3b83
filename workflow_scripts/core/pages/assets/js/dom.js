// Making elements. Text from the world enters as text nodes, attributes and properties, never as markup.

const byId = (id) => document.getElementById(id);

/** An element with properties (`aria-*`, `role` and `data-*` as attributes, `on*` as listeners) and children; null children are left out. */
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(aria-|data-|role$|for$|list$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A button that shows its key. */
function keyButton(label, key, onclick, className = "") {
  return el("button", { type: "button", className, onclick, "aria-keyshortcuts": key }, label, " ", el("kbd", {}, key));
}

const count = (number) => number.toLocaleString("en");
const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Say something to who cannot see the change. */
function speak(text) {
  byId("spoken").textContent = text;
}

/** Show a line at the top; the same id replaces the line before, no text removes it. */
function notice(id, text, ...more) {
  byId(`notice-${id}`)?.remove();
  if (text) byId("notices").append(el("p", { id: `notice-${id}`, className: "notice warning" }, text, " ", ...more));
}

/** Open the dialog for everything but images. */
function openSheet(title, ...content) {
  const sheet = byId("sheet");
  const close = el("button", { type: "button", className: "close", onclick: () => sheet.close() }, "Close ", el("kbd", {}, "Esc"));
  sheet.replaceChildren(el("div", { className: "sheet-head" }, el("h2", { id: "sheet-title" }, title), close), ...content.filter(Boolean));
  if (!sheet.open) sheet.showModal();
  sheet.querySelector(".primary")?.focus();
}

/** Text with a button that copies it; where the clipboard is closed to pages, the text is selected for the person to copy. */
function copyable(text, label = "Copy") {
  const box = el("pre", { className: "copyable", tabIndex: 0 }, text);
  const said = el("span", { className: "said", role: "status" });
  const button = el("button", { type: "button", onclick: () => copyText(box, said) }, label);
  return el("div", { className: "copy" }, box, el("div", { className: "copy-buttons" }, button, said));
}

async function copyText(box, said) {
  const selection = getSelection();
  selection.selectAllChildren(box);
  try {
    await navigator.clipboard.writeText(box.textContent);
    said.textContent = "Copied";
  } catch {
    said.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
  }
}

/** A function that runs before the next frame is drawn, once, however often it is asked for until then. */
function soon(action) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      action();
    });
  };
}

// One part tells the others that something changed, without knowing them.
const listeners = new Map();

function on(event, listener) {
  listeners.set(event, [...(listeners.get(event) ?? []), listener]);
}

function emit(event) {
  for (const listener of listeners.get(event) ?? []) listener();
}
