// The browser's local storage, which may be closed, full or another tab's.

const STORE = "darkroom:";
let storageWorks = true;

function stored(key) {
  try {
    return localStorage.getItem(STORE + key);
  } catch {
    return null;
  }
}

/** Keep a value, or forget it when it is null; gives whether that worked. */
function store(key, value) {
  try {
    if (value === null) localStorage.removeItem(STORE + key);
    else localStorage.setItem(STORE + key, value);
    return true;
  } catch {
    return false;
  }
}

/** All keys and values that were stored. */
function storedEntries() {
  const entries = [];
  try {
    for (let place = 0; place < localStorage.length; place++) {
      const key = localStorage.key(place);
      if (key.startsWith(STORE)) entries.push([key.slice(STORE.length), localStorage.getItem(key)]);
    }
  } catch {
    return [];
  }
  return entries;
}
