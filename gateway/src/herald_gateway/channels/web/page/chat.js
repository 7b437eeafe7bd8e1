/**
 * The chat page: what a person does goes to the outbox, what the server says goes to the view.
 *
 * A conversation is named in the page's address, so that reload, Back and a second tab show the same one.
 */

import { Outbox } from "./outbox.js";
import { newId, ready } from "./session.js";
import * as storage from "./storage.js";
import { Transcript } from "./transcript.js";
import { View } from "./view.js";

const READY_MS = 15_000;
const element = (id) => document.getElementById(id);
const [form, text, send, status, notice, resume] = ["composer", "text", "send", "status", "notice", "resume"].map(element);

const view = new View(act);
const outbox = new Outbox((entry) => entry.chat === transcript.chat && view.pending(entry));
const transcript = new Transcript({ event: show, state: stateChanged, session: sessionSeen });
let connection = "connecting";
let problem = "";
let accepts = null;
let lastAt = 0;

// What the server says

function show(event) {
  if (event.type === "message") {
    view.message(event);
    outbox.forget(event.id);
  } else if (event.type === "reply") view.reply(event);
  else if (event.type === "live") view.live(event);
  else if (event.type === "reset") startView();
  else if (event.type === "caught-up") {
    if (event.shortened) tell("Only the newest messages of this long conversation are shown.");
    view.caughtUp();
  }
}

function sessionSeen(session) {
  text.maxLength = session.characters;
  const before = storage.read("session");
  storage.write("session", session.session);
  if (before !== null && before !== session.session) {
    transcript.after = 0;
    startView();
    tell("Your earlier session has ended, and its conversations with it. This is a new one.");
  }
}

function stateChanged(name, detail = "") {
  connection = name;
  problem = detail;
  if (name === "open") {
    outbox.hurry();
    askReady();
  }
  showStatus();
}

async function askReady() {
  if (document.visibilityState !== "visible" || connection === "failed") return;
  const answer = await ready();
  if (answer === true && accepts === false) outbox.hurry();
  accepts = answer;
  showStatus();
}

function showStatus() {
  const [state, words] = {
    connecting: ["connecting", "Connecting…"],
    reconnecting: ["offline", "Disconnected. Reconnecting…"],
    elsewhere: ["offline", "Open in too many tabs"],
    failed: ["failed", problem],
    open:
      accepts === false
        ? ["busy", "Cannot accept messages now. What you write is kept and sent later."]
        : ["ready", "Ready"],
  }[connection];
  status.dataset.state = state;
  if (status.textContent !== words) status.textContent = words;
  resume.hidden = connection !== "elsewhere";
}

// What the person does

function act(what, id) {
  if (what === "retry") outbox.hurry();
  if (what === "edit" || what === "again") write(view.textOf(id));
  if (what === "edit" || what === "remove") {
    outbox.forget(id);
    view.remove(id);
  }
}

function write(words) {
  text.value = words;
  text.dispatchEvent(new Event("input"));
  text.focus();
}

form.addEventListener("submit", (e) => {
  e.preventDefault();
  const words = text.value.trim();
  if (!words) return;
  lastAt = Math.max(Date.now(), lastAt + 1);
  outbox.add({ id: newId(), chat: transcript.chat, text: words, at: lastAt });
  write("");
  view.toEnd();
});

text.addEventListener("keydown", (e) => {
  // While an input method is composing, Enter chooses a word (229: browsers that say so only by the key code).
  if (e.key !== "Enter" || e.shiftKey || e.isComposing || e.keyCode === 229) return;
  e.preventDefault();
  form.requestSubmit();
});

text.addEventListener("input", () => {
  send.disabled = !text.value.trim();
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
  storage.keepDraft(text.value);
});

resume.addEventListener("click", () => transcript.resume());

element("new").addEventListener("click", () => {
  history.pushState(null, "", `?c=${newId().slice(0, 12)}`);
  open(chatInAddress());
  text.focus();
});

addEventListener("popstate", () => open(chatInAddress()));

// Conversations

/** The first conversation of a session has no name. */
function chatInAddress() {
  const named = new URLSearchParams(location.search).get("c") ?? "";
  return /^[\w-]{1,64}$/.test(named) ? named : "";
}

function startView() {
  view.clear();
  for (const entry of outbox.of(transcript.chat)) view.pending(entry);
}

function tell(words) {
  notice.textContent = words;
  notice.hidden = false;
}

function open(chat) {
  storage.write("conversation", chat);
  notice.hidden = true;
  element("welcome").hidden = true;
  transcript.open(chat);
  startView();
}

outbox.restore();
const chat = chatInAddress() || storage.read("conversation") || "";
if (chat) history.replaceState(null, "", `?c=${chat}`);
open(chat);
write(storage.draft());
setInterval(askReady, READY_MS);
document.addEventListener("visibilitychange", askReady);
