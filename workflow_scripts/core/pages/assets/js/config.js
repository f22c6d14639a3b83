// The lines of configuration that say what the handles say.

const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const NO_PLAIN_KEY = /^(true|false|yes|no|on|off|null|y|n)$/i; // YAML reads these as something else than text

const yamlKey = (key) => (PLAIN_KEY.test(key) && !NO_PLAIN_KEY.test(key) ? key : JSON.stringify(key));

/** A number as every YAML reader takes it: 1e-7 would be a text without its decimal point. */
const yamlNumber = (value) => String(value).replace(/^(-?\d+)e/, "$1.0e");

/** The settings of all thresholds as one YAML tree. */
function configLines() {
  const tree = new Map();
  data.page.thresholds.forEach(({ path }, number) => {
    let branch = tree;
    path.slice(0, -1).forEach((key) => {
      if (!(branch.get(key) instanceof Map)) branch.set(key, new Map());
      branch = branch.get(key);
    });
    if (path.length) branch.set(path.at(-1), valueOf(number));
  });
  return treeLines(tree, 0).join("\n");
}

function treeLines(tree, depth) {
  return [...tree].flatMap(([key, value]) => {
    const start = `${"  ".repeat(depth)}${yamlKey(key)}:`;
    return value instanceof Map ? [start, ...treeLines(value, depth + 1)] : [`${start} ${yamlNumber(value)}`];
  });
}

function startConfig() {
  const place = byId("config");
  if (!place || !data.page.thresholds.some(({ path }) => path.length)) return;
  const box = copyable(configLines(), "Copy lines");
  place.append(el("h2", {}, "For your configuration file"), box);
  on("thresholds", () => (box.querySelector("pre").textContent = configLines()));
}
