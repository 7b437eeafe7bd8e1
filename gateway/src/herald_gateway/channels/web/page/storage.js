/**
 * What the browser keeps for this page. Where it keeps nothing (private windows, a full disk), memory does
 * until the page is closed.
 */

const PREFIX = `herald:${location.pathname}:`;
const memory = new Map();

export function read(name) {
  try {
    const value = localStorage.getItem(PREFIX + name);
    if (value !== null) return value;
  } catch {
    // Storage is switched off.
  }
  return memory.get(name) ?? null;
}

export function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
    memory.delete(name);
  } catch {
    memory.set(name, value);
  }
}

export function remove(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // Storage is switched off.
  }
}

/** The names that begin with `start`. */
export function names(start) {
  const found = new Set([...memory.keys()].filter((name) => name.startsWith(start)));
  try {
    for (let i = 0; i < localStorage.length; i += 1) {
      const key = localStorage.key(i);
      if (key.startsWith(PREFIX + start)) found.add(key.slice(PREFIX.length));
    }
  } catch {
    // Storage is switched off.
  }
  return [...found];
}

/** What is being written, for this tab and until it is closed. */
export function draft() {
  try {
    return sessionStorage.getItem(`${PREFIX}draft`) ?? "";
  } catch {
    return "";
  }
}

export function keepDraft(text) {
  try {
    sessionStorage.setItem(`${PREFIX}draft`, text);
  } catch {
    // Storage is switched off, or the text is longer than what it takes.
  }
}
