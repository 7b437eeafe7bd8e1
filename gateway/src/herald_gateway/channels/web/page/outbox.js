/**
 * Messages on their way to the server, kept until the transcript shows them.
 *
 * Each is posted under the id it got when it was written, again and again until the server says that it is
 * durable: repeating is harmless, the server knows the id. One at a time, so that they arrive in order. Each
 * has a storage key of its own, so that two tabs never overwrite each other's.
 */

import { backOff, begin } from "./session.js";
import * as storage from "./storage.js";

const KEPT_MS = 24 * 3_600_000;
const REFUSED = {
  400: "The server could not read this message.",
  403: "The server did not take this message from here.",
  413: "This message is too long.",
  415: "The server could not read this message.",
};

export class Outbox {
  /** `changed(entry)` is called at each new state: sending, retrying, accepted, refused. */
  constructor(changed) {
    this.changed = changed;
    this.entries = [];
    this.running = false;
    this.wake = () => {};
  }

  /** Take up what an earlier page left behind. */
  restore() {
    for (const name of storage.names("outbox:")) {
      try {
        const entry = JSON.parse(storage.read(name));
        if (Date.now() - entry.at > KEPT_MS && entry.state === "accepted") storage.remove(name);
        else this.entries.push(entry);
      } catch {
        storage.remove(name);
      }
    }
    this.entries.sort((a, b) => a.at - b.at);
    this.run();
  }

  add(entry) {
    this.entries.push({ ...entry, state: "sending" });
    this.keep(this.entries.at(-1));
    this.run();
  }

  of(chat) {
    return this.entries.filter((entry) => entry.chat === chat);
  }

  /** The transcript has it, or nobody wants it any more. */
  forget(id) {
    const entry = this.entries.find((one) => one.id === id);
    if (!entry) return;
    this.entries.splice(this.entries.indexOf(entry), 1);
    storage.remove(`outbox:${id}`);
    this.wake();
  }

  /** Do not wait for the next try. */
  hurry() {
    this.wake();
  }

  keep(entry) {
    storage.write(`outbox:${entry.id}`, JSON.stringify(entry));
    this.changed(entry);
  }

  async run() {
    if (this.running) return;
    this.running = true;
    let failures = 0;
    for (;;) {
      const entry = this.entries.find((one) => one.state === "sending" || one.state === "retrying");
      if (!entry) break;
      if (storage.read(`outbox:${entry.id}`) === null) {
        // Another tab has seen it through.
        this.entries.splice(this.entries.indexOf(entry), 1);
        continue;
      }
      const { state, reason, seconds } = await this.post(entry, failures);
      if (!this.entries.includes(entry)) continue;
      entry.state = state;
      entry.reason = reason;
      this.keep(entry);
      failures = state === "retrying" ? failures + 1 : 0;
      if (state === "retrying") await this.pause(seconds);
    }
    this.running = false;
  }

  async post({ id, chat, text }, failures) {
    const seconds = backOff(failures);
    try {
      const answer = await fetch("events", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ id, chat, text }),
        signal: AbortSignal.timeout(20_000),
      });
      if (answer.ok) return { state: "accepted" };
      if (answer.status in REFUSED) return { state: "refused", reason: REFUSED[answer.status] };
      if (answer.status === 401) {
        await begin();
        return { state: "retrying", reason: "The session is being renewed.", seconds: failures ? seconds : 0 };
      }
      const wait = Number(answer.headers.get("retry-after")) || 0;
      return { state: "retrying", reason: "The server cannot accept it now.", seconds: Math.max(wait, seconds) };
    } catch {
      return { state: "retrying", reason: "The server cannot be reached.", seconds };
    }
  }

  pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
