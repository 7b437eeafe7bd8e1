/**
 * The session is a cookie that this script cannot read; the server is asked for it before anything else is.
 * Its tag tells when it has become another one, whose conversations are others too.
 */

export class Fatal extends Error {}

/** Begin or renew the session. Rejects with Fatal when trying again cannot help. */
export async function begin() {
  const answer = await fetch("session", {
    method: "POST",
    cache: "no-store",
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.status === 403) throw new Fatal("This page was not opened from its own address.");
  if (!answer.ok) throw new Error(`session: ${answer.status}`);
  return answer.json();
}

/** Can the gateway accept messages durably now? Null when it does not say. */
export async function ready() {
  try {
    const answer = await fetch("state", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    return answer.ok ? (await answer.json()).ready === true : null;
  } catch {
    return null;
  }
}

/** An id that nobody else draws. Not crypto.randomUUID: browsers have that only on https and localhost. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Seconds before the next try: growing, bounded, and not the same in every page that lost the same server. */
export function backOff(failures) {
  return Math.min(15, 0.5 * 2 ** Math.min(failures, 6)) * (0.75 + Math.random() / 2);
}
