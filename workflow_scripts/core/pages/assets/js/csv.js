// CSV as Python's csv module reads and writes it.

const quoteField = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const writeCsv = (rows) => rows.map((row) => `${row.map(quoteField).join(",")}\n`).join("");

/** Rows of fields; throws an error that names the line when a quote is left open or stands where none may. */
function parseCsv(text) {
  const rows = [];
  let row = [];
  let place = text.startsWith("\ufeff") ? 1 : 0;
  let line = 1;
  while (place < text.length) {
    let field = "";
    if (text[place] === '"') {
      const start = line;
      for (place++; ; place++) {
        if (place >= text.length) throw new Error(`line ${start}: a quote is never closed`);
        if (text[place] === '"' && text[++place] !== '"') break;
        if (text[place] === "\n") line++;
        field += text[place];
      }
      if (place < text.length && !",\r\n".includes(text[place])) throw new Error(`line ${line}: text behind a closing quote`);
    } else {
      const start = place;
      while (place < text.length && !",\r\n".includes(text[place])) place++;
      field = text.slice(start, place);
    }
    row.push(field);
    if (text[place] === ",") {
      place++;
      if (place >= text.length) row.push("");
      continue;
    }
    if (text[place] === "\r" && text[place + 1] === "\n") place++;
    place++;
    line++;
    rows.push(row);
    row = [];
  }
  if (row.length) rows.push(row);
  return rows.filter((fields) => fields.some(Boolean));
}
