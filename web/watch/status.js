// How the connection is, in words. Pure.

/** The connection as `{ text, tone, retry }`: whether there is a reason to try again by hand. */
export function link({ state, attempts, retryInMs, code, reason }) {
  const again = attempts ? ` (${attempts} failed)` : "";
  switch (state) {
    case "open":
      return { text: "live", tone: "good", retry: false };
    case "connecting":
      return { text: attempts ? `reconnecting…${again}` : "connecting…", tone: "", retry: false };
    case "waiting":
      return { text: `disconnected, again in ${Math.max(1, Math.round((retryInMs ?? 0) / 1000))} s${again}`, tone: "bad", retry: true };
    case "polling":
      return { text: `polling by HTTP, the socket does not open${again}`, tone: "", retry: true };
    default:
      return { text: `closed: ${code}${reason ? ` ${reason}` : ""}`, tone: "bad", retry: true };
  }
}

/** What the server says about itself. */
export function standing({ degraded, paused, draining }) {
  const scope = paused?.provider ?? paused?.symbols?.join(", ");
  return [
    degraded && `Degraded: ${degraded.reason ?? "the broker is away"}. Quotes may be old.`,
    paused && `Publishing is paused${scope ? ` for ${scope}` : ""}: ${paused.reason ?? "by an operator"}`,
    draining && "This gateway is going away; the page moves by itself.",
  ].filter(Boolean);
}
