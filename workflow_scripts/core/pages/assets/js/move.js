// Lines for a shell that move what a person rejected. Nothing is ever moved by the page.

const quoteShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const isRejectedByPerson = (item) => choiceOf(item)?.outcome === "rejected";

/** `mv` for one item; null where the page has no folders to move between, or the name leads out of its folder. */
function moveLine(item) {
  if (!data.page.move) return null;
  const name = data.names[item];
  if (name.startsWith("/") || name.split("/").some((part) => part === ".." || part === "") || name.includes("\0")) return null;
  const [from, to] = data.page.move.map((folder) => `${folder}/${name}`);
  const folder = to.slice(0, to.lastIndexOf("/"));
  return `mkdir -p -- ${quoteShell(folder)} && mv -n -- ${quoteShell(from)} ${quoteShell(to)}`;
}

function openMove() {
  const rejected = data.names.map((_, item) => item).filter(isRejectedByPerson);
  const lines = rejected.map(moveLine).filter(Boolean);
  const refused = rejected.length - lines.length;
  openSheet(
    "Move rejected files",
    el("p", {}, `${plural(lines.length, "file")} that you rejected. The page moves nothing itself: paste these lines into a terminal. A file that is there already is not overwritten.`),
    refused ? el("p", { className: "failure" }, `${plural(refused, "name")} lead out of the folder and have no line.`) : null,
    lines.length ? copyable(`${lines.join("\n")}\n`, "Copy all lines") : null,
  );
}
