/**
 * The conversation on the screen: turns in the order of their messages, each with its answer below it.
 *
 * HTML comes from the server, which has made it safe; everything else is set as text.
 */

const LONG_WAIT_MS = 20_000;
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export class View {
  /** `act(what, id)` is called for a person's wishes: retry, edit, remove, again. */
  constructor(act) {
    this.act = act;
    this.log = document.getElementById("log");
    this.scroller = document.getElementById("scroll");
    this.newest = document.getElementById("newest");
    this.announcer = document.getElementById("announcer");
    this.turns = new Map();
    this.quiet = true;
    this.stuck = true;
    this.scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.scroller;
      this.stuck = scrollHeight - scrollTop - clientHeight < 60;
      this.newest.hidden = this.stuck;
    });
    const follow = new ResizeObserver(() => this.stuck && this.toEnd());
    follow.observe(this.log);
    follow.observe(this.scroller);
    this.newest.addEventListener("click", () => this.toEnd());
    setInterval(() => this.showWaiting(), 5_000);
  }

  clear() {
    this.turns.clear();
    this.log.replaceChildren();
    this.quiet = true;
    this.stuck = true;
  }

  /** All that was said before is shown: from now on, what comes is news. */
  caughtUp() {
    this.quiet = false;
    document.getElementById("welcome").hidden = this.turns.size > 0;
    this.showWaiting();
  }

  toEnd() {
    this.stuck = true;
    this.newest.hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** A message that the transcript does not show yet; `state` as the outbox says it. */
  pending({ id, text, at, state, reason }) {
    const turn = this.turn(id);
    if (turn.durable) return;
    if (!turn.asked) {
      const p = document.createElement("p");
      p.className = "verbatim";
      p.dir = "auto";
      p.textContent = text;
      this.ask(turn, at);
      turn.bubble.replaceChildren(p);
      document.getElementById("welcome").hidden = true;
    }
    turn.accepted = state === "accepted";
    turn.said.dataset.state = state;
    const words = { sending: "Sending…", retrying: `Not sent yet. ${reason} Trying again by itself.` };
    const buttons = state === "retrying" ? ["retry"] : state === "refused" ? ["edit", "remove"] : [];
    this.note(turn, words[state] ?? reason ?? "", buttons);
    if (state === "refused") this.announce(`Not sent. ${reason}`);
    this.showWaiting();
  }

  message({ id, html, at }) {
    const turn = this.turn(id);
    if (turn.durable) return;
    this.ask(turn, at);
    turn.durable = true;
    turn.accepted = true;
    turn.said.dataset.state = "durable";
    put(turn.bubble, html);
    this.note(turn, "", []);
    // Messages not in the transcript yet come after all that are.
    const firstPending = [...this.turns.values()].find((one) => one.asked && !one.durable);
    if (firstPending && precedes(firstPending.article, turn.article)) firstPending.article.before(turn.article);
    this.showWaiting();
  }

  reply({ id, to, html, text, kind, at }) {
    const turn = this.turn(to);
    const answer = this.answer(turn, id);
    answer.final = true;
    answer.element.dataset.state = kind;
    put(answer.text, html);
    answer.element.querySelector(".trouble").hidden = kind !== "failure";
    answer.time.dateTime = at;
    answer.time.textContent = said(at);
    this.buttons(answer.state, [
      kind === "failure" ? ["again", "Ask again", () => this.act("again", turn.id)] : null,
      navigator.clipboard ? ["copy", "Copy", (button) => copy(button, text)] : null,
    ]);
    for (const scrolled of answer.text.querySelectorAll("pre, table")) scrolled.tabIndex = 0;
    this.announce(kind === "failure" ? `No answer. ${text}` : `Answer: ${text.slice(0, 1_000)}`);
    this.showWaiting();
  }

  live({ id, to, html, text, state }) {
    const turn = this.turn(to);
    const answer = this.answer(turn, id);
    if (answer.final) return;
    if (!text) {
      answer.element.remove();
      turn.answers.delete(id);
      turn.hint = state === "retrying" ? "Trying again…" : "";
    } else {
      answer.element.dataset.state = "writing";
      answer.element.setAttribute("aria-busy", "true");
      answer.state.textContent = state === "retrying" ? "Trying again…" : "Writing…";
      put(answer.text, html);
    }
    this.showWaiting();
  }

  /** The person's words of a turn. */
  textOf(id) {
    return this.turns.get(id)?.bubble.textContent.trim() ?? "";
  }

  remove(id) {
    this.turns.get(id)?.article.remove();
    this.turns.delete(id);
    this.showWaiting();
  }

  turn(id) {
    const known = this.turns.get(id);
    if (known) return known;
    const article = document.getElementById("turn").content.firstElementChild.cloneNode(true);
    const said = article.querySelector(".said");
    article.dataset.id = id;
    const turn = {
      id,
      article,
      said,
      bubble: said.querySelector(".bubble"),
      waiting: article.querySelector(".waiting"),
      answers: new Map(),
      asked: false,
      durable: false,
      accepted: false,
      hint: "",
      since: performance.now(),
    };
    this.turns.set(id, turn);
    this.log.append(article);
    return turn;
  }

  ask(turn, at) {
    turn.asked = true;
    turn.said.hidden = false;
    const stamp = turn.said.querySelector("time");
    stamp.dateTime = new Date(at).toISOString();
    stamp.textContent = said(at);
  }

  answer(turn, id) {
    const known = turn.answers.get(id);
    if (known) {
      known.element.removeAttribute("aria-busy");
      return known;
    }
    const element = document.getElementById("answer").content.firstElementChild.cloneNode(true);
    const answer = {
      element,
      text: element.querySelector(".text"),
      time: element.querySelector("time"),
      state: element.querySelector(".state"),
      final: false,
    };
    turn.answers.set(id, answer);
    turn.waiting.before(element);
    return answer;
  }

  /** The first unanswered message is being thought about, those behind it are in line. */
  showWaiting() {
    let first = true;
    for (const article of this.log.children) {
      const turn = this.turns.get(article.dataset.id);
      const waits = turn.accepted && turn.answers.size === 0;
      turn.waiting.hidden = !waits || this.quiet;
      if (!waits) continue;
      const long = performance.now() - turn.since > LONG_WAIT_MS;
      const words = !first
        ? "Next in line"
        : turn.hint || (long ? "Still thinking. The answer will be here, even if you close this page." : "Thinking…");
      const state = turn.waiting.querySelector(".state");
      if (state.textContent !== words) state.textContent = words;
      first = false;
    }
  }

  note(turn, words, names) {
    const state = turn.said.querySelector(".state");
    state.textContent = words;
    const labels = { retry: "Try now", edit: "Edit", remove: "Remove" };
    this.buttons(state, names.map((name) => [name, labels[name], () => this.act(name, turn.id)]), words);
  }

  buttons(where, list, words = "") {
    where.replaceChildren(words);
    for (const [name, label, click] of list.filter(Boolean)) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = `small ${name}`;
      button.textContent = label;
      button.addEventListener("click", () => click(button));
      where.append(" ", button);
    }
  }

  announce(words) {
    if (!this.quiet) this.announcer.textContent = words;
  }
}

/** Show `html`, leaving what has not changed alone: a selection in it and its scrolling survive. */
function put(element, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = [...template.content.childNodes];
  let same = 0;
  while (same < fresh.length && element.childNodes[same]?.isEqualNode(fresh[same])) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  element.append(...fresh.slice(same));
}

function precedes(one, other) {
  return Boolean(one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
}

function said(at) {
  const date = new Date(at);
  return (date.toDateString() === new Date().toDateString() ? time : dateAndTime).format(date);
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = "Copy"), 2_000);
}
