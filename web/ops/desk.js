// What an operator asks of the process: readings, and control messages with the admin token.
//
// The token is asked for when the port wants one, and kept for this tab alone.

import { forTab } from "./keep.js";

const TOKEN = "tickcast.admin";
const PATIENCE_MS = 5000;

/** The port wants a token, or another one. */
export class Unauthorized extends Error {}

/** Health, statistics and metrics, read together; `budgets`: asked of the broker first, so that they are as of now. */
export async function read({ budgets }) {
  if (budgets) await get("quota");
  const [health, stats, metrics] = await Promise.all(["health", "stats", "metrics?format=json"].map(get));
  return { health, stats, metrics };
}

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`/${path} answered ${response.status}`);
  return response.json();
}

/** Sends a control message; resolves with what was answered, in words. */
export async function control(action, data) {
  const token = forTab.get(TOKEN);
  const response = await fetch("control", {
    method: "POST",
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    body: JSON.stringify({ action, data }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const body = await response.json();
  if (response.status === 401) {
    forTab.remove(TOKEN);
    throw new Unauthorized(body.error.message);
  }
  if (!response.ok) throw new Error(body.error.message);
  if (!body.replies.length) return `${action}: no publisher answered (${body.receivers} heard it).`;
  return body.replies
    .map(({ publisher, ok, error }) => `${publisher}: ${ok ? `${action} done` : (error?.message ?? `${action} refused`)}.`)
    .join(" ");
}

export function keepToken(token) {
  forTab.set(TOKEN, token);
}
