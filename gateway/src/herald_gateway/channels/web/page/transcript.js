/**
 * The server's view of the conversation, read for as long as the page is open.
 *
 * A broken connection is the normal end of one: the next begins after the last entry that was seen, so the
 * page misses nothing. The browser's own reconnecting is not used, since it says neither why nor for how long.
 */

import { backOff, begin, Fatal } from "./session.js";

// The server sends something at least every 15 seconds.
const SILENCE_MS = 40_000;

export class Transcript {
  /**
   * `event(e)` for each event of the current conversation; `state(name, detail)` with connecting, open,
   * reconnecting, elsewhere or failed; `session(answer)` whenever the session has been renewed.
   */
  constructor({ event, state, session }) {
    this.on = { event, state, session };
    this.chat = "";
    this.after = 0;
    this.round = 0;
    this.heard = 0;
    this.source = null;
    this.end = () => {};
    this.nudge = () => {};
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.hurry();
    });
    // A page that is put aside keeps no connection, and takes one up when it is shown again.
    addEventListener("pagehide", () => this.source?.close());
    addEventListener("pageshow", (e) => e.persisted && this.resume());
    setInterval(() => this.watch(), 5_000);
  }

  /** Read conversation `chat` from its beginning. */
  open(chat) {
    this.chat = chat;
    this.after = 0;
    this.resume();
  }

  /** Go on where it ended, in this tab. */
  resume() {
    this.round += 1;
    this.end("left");
    this.nudge();
    this.read(this.round);
  }

  /** Something has changed for the better: do not wait for the next try. */
  hurry() {
    this.watch();
    this.nudge();
  }

  watch() {
    const open = this.source?.readyState === EventSource.OPEN;
    if (open && performance.now() - this.heard > SILENCE_MS) this.end("lost");
  }

  async read(round) {
    let failures = 0;
    let strange = 0;
    this.on.state("connecting");
    while (round === this.round) {
      let reason = "lost";
      try {
        const session = await begin();
        if (round !== this.round) return;
        strange = session.known ? 0 : strange + 1;
        if (strange > 1) throw new Fatal("Your browser does not keep this page's cookie. Allow it and reload the page.");
        this.on.session(session);
        reason = await this.listen(round, () => {
          failures = 0;
        });
      } catch (error) {
        if (error instanceof Fatal) {
          this.on.state("failed", error.message);
          return;
        }
      }
      if (round !== this.round) return;
      if (reason === "elsewhere") {
        this.on.state("elsewhere");
        return;
      }
      this.on.state("reconnecting");
      await this.pause(backOff(failures));
      failures += 1;
    }
  }

  /** One connection; resolves with the reason of its end. */
  listen(round, caughtUp) {
    return new Promise((resolve) => {
      const where = new URLSearchParams({ chat: this.chat, after: String(this.after) });
      const source = new EventSource(`stream?${where}`);
      const end = (reason) => {
        source.close();
        resolve(reason);
      };
      this.source = source;
      this.end = end;
      source.onerror = () => end("lost");
      source.onmessage = ({ data, lastEventId }) => {
        if (round !== this.round) return undefined;
        this.heard = performance.now();
        const event = JSON.parse(data);
        if (event.type === "ending") return end(event.reason);
        if (event.type === "reset") this.after = 0;
        else if (lastEventId) this.after = Number(lastEventId);
        if (event.type === "caught-up") {
          caughtUp();
          this.on.state("open");
        }
        return this.on.event(event);
      };
    });
  }

  pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.nudge = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
