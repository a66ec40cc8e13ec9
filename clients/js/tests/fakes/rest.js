// A fake fetch: the test answers each request.

export function fakeRest() {
  const requests = [];
  let always;
  const fetch = (url, { headers, signal }) =>
    new Promise((resolve, reject) => {
      const parsed = new URL(url);
      requests.push({
        url,
        path: parsed.pathname,
        symbols: parsed.searchParams.get("symbols")?.split(","),
        headers,
        signal,
        answer(body, { status = 200, headers = {} } = {}) {
          resolve(new Response(JSON.stringify(body), { status, headers }));
        },
        fail: () => reject(new TypeError("fetch failed")),
      });
      signal.addEventListener("abort", () => reject(signal.reason));
      if (always) requests.at(-1).answer(always);
    });
  const answerAll = (body) => {
    always = body;
    requests.at(-1)?.answer(body);
  };
  return { fetch, requests, last: () => requests.at(-1), answerAll };
}

/** A quote as `GET /api/quotes` gives it. */
export function restQuote(symbol, price, more = {}) {
  return { type: "price_update", symbol, data: { symbol, price }, age_ms: 500, stale: false, ...more };
}
