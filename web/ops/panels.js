// Draws what the process says about itself. Knows the shapes of /health and /stats, and asks nobody.
//
// Elements are made once and then written, so that whoever has the focus or a screen reader's cursor on one keeps it.

import { age, millis } from "./format.js";

const NONE = "–";
const $ = (id) => document.getElementById(id);
const whole = (number) => Math.round(number).toLocaleString();
const span = (ms) => (ms === null || ms === undefined ? NONE : millis(ms));
const perSecond = (rate) => (rate === undefined ? NONE : `${rate < 10 ? rate.toFixed(1) : whole(rate)} /s`);

/** Writes terms and values into a list of facts. */
function facts(id, entries) {
  const list = $(id);
  for (const [term, value] of Object.entries(entries)) {
    let group = [...list.children].find(({ dataset }) => dataset.term === term);
    if (!group) {
      group = document.createElement("div");
      group.dataset.term = term;
      group.append(document.createElement("dt"), document.createElement("dd"));
      group.firstChild.textContent = term;
      list.append(group);
    }
    write(group.lastChild, value);
  }
}

function write(element, words) {
  const text = String(words);
  if (element.textContent !== text) element.textContent = text;
}

/** Makes the children of `parent` match `names`: one made by `make(name)` for each, the same one as before. */
function keyed(parent, names, make) {
  const children = new Map([...parent.children].map((child) => [child.dataset.name, child]));
  for (const [name, child] of children) if (!names.includes(name)) child.remove();
  return names.map((name) => {
    const known = children.get(name);
    if (known) return known;
    const child = make(name);
    child.dataset.name = name;
    parent.append(child);
    return child;
  });
}

export function showProcess({ status, broker, uptime_s: uptime, version }) {
  const pill = $("health");
  write(pill, status);
  pill.dataset.tone = status === "healthy" ? "good" : "bad";
  facts("process", {
    Broker: `${broker.kind}, ${broker.connected ? "connected" : "away"}${broker.writable === false ? ", takes no writes" : ""}`,
    Canary: span(broker.canary_ms),
    "Up for": age(uptime * 1000),
    Version: version,
  });
  $("problem").hidden = !broker.problem;
  write($("problem"), broker.problem ?? "");
}

/** `rates`: see rates.js; nothing at the first reading. */
export function showGateway(gateway, rates) {
  $("gateway").hidden = !gateway;
  if (!gateway) return;
  facts("connections", {
    Connections: `${whole(gateway.connections)} of ${whole(gateway.max_connections)}`,
    Subscriptions: whole(gateway.subscriptions),
    Symbols: whole(gateway.symbols),
    "WebSockets by event loop": gateway.shard_connections.map(whole).join(" · "),
  });
  const rate = (name) => perSecond(rates?.perSecond(`tickcast_${name}_total`));
  facts("rates", {
    Received: rate("updates_received"),
    Delivered: rate("deliveries"),
    Writes: rate("writes"),
    Conflated: rate("conflated"),
    Dropped: rate("updates_dropped"),
    Closes: rate("closes"),
    Refused: rate("connections_refused"),
  });
  const within = (name, part) => {
    const seconds = rates?.quantile(name, part);
    return seconds === undefined ? NONE : millis(seconds * 1000);
  };
  facts("lag", {
    Feed: gateway.feed_connected ? "connected" : "away",
    "Last update": span(gateway.last_message_age_ms),
    "Fan-out, half below": within("tickcast_fanout_seconds", 0.5),
    "99 % below": within("tickcast_fanout_seconds", 0.99),
    "Feed fell behind": rate("feed_lagged"),
  });
}

/** `act(action, data)` sends a control message. */
export function showPublisher(publisher, rates, act) {
  $("no-publisher").hidden = Boolean(publisher);
  $("publisher").hidden = !publisher;
  if (publisher) {
    facts("publisher", {
      State: publisher.state,
      Role: publisher.leader ? "leads" : "stands by",
      Symbols: `${whole(publisher.symbols)}${publisher.unserved ? ` (${whole(publisher.unserved)} no provider has)` : ""}`,
      Published: perSecond(rates?.perSecond("tickcast_updates_published_total")),
      "Last publish": span(publisher.last_publish_age_ms),
      Buffered: whole(publisher.buffered),
    });
  }
  showPaused(publisher?.paused, act);
  showProviders(publisher?.providers ?? {}, publisher?.paused, act);
}

function showPaused(paused, act) {
  const entries = [
    ...(paused?.all ? [["everything", {}, paused.all]] : []),
    ...Object.entries(paused?.providers ?? {}).map(([name, pause]) => [`provider ${name}`, { provider: name }, pause]),
    ...Object.entries(paused?.symbols ?? {}).map(([name, pause]) => [name, { symbols: [name] }, pause]),
  ];
  const scopes = new Map(entries.map(([name, scope]) => [name, scope]));
  const items = keyed($("paused"), [...scopes.keys()], (name) => {
    const item = document.createElement("li");
    item.append(document.createElement("span"));
    // A resume of everything ends the narrower pauses too, so it is the button above.
    if (name !== "everything") item.append(button(`Resume ${name}`, () => act("resume", scopes.get(name))));
    return item;
  });
  items.forEach((item, i) => {
    const [name, , { reason, since }] = entries[i];
    write(item.firstChild, `Paused: ${name}${reason ? `, ${reason}` : ""}, since ${new Date(since).toLocaleString()}`);
  });
}

function showProviders(providers, paused, act) {
  const names = Object.keys(providers);
  $("providers-section").hidden = names.length === 0;
  const rows = keyed($("providers"), names, (name) => {
    const row = $("provider").content.firstElementChild.cloneNode(true);
    row.querySelector(".name").textContent = name;
    row.querySelector("button").addEventListener("click", ({ target }) => act(target.dataset.action, { provider: name }));
    return row;
  });
  rows.forEach((row, i) => {
    const name = names[i];
    const { breaker, budget, calls, queued, in_flight: inFlight, parked, last_failure: failure } = providers[name];
    const put = (part, words) => write(row.querySelector(part), words);
    put(".breaker", breaker.replace("_", "-"));
    row.querySelector(".breaker").dataset.state = breaker;
    put(".expected", whole(calls.expected));
    put(".actual", whole(calls.actual));
    put(".queued", whole(queued));
    put(".in-flight", whole(inFlight));
    put(".trouble", [parked && `${parked.why}, for ${parked.for_s} s`, failure].filter(Boolean).join("; "));
    showBudget(row.querySelector(".budget"), budget);
    const isPaused = Boolean(paused?.providers?.[name]);
    const switcher = row.querySelector("button");
    switcher.dataset.action = isPaused ? "resume" : "pause";
    write(switcher, isPaused ? "Resume" : "Pause");
    switcher.setAttribute("aria-label", `${switcher.textContent} ${name}`);
  });
}

function showBudget(cell, budget) {
  const windows = Object.keys(budget);
  if (!windows.length) return write(cell, "unlimited");
  if (!cell.firstElementChild) cell.textContent = "";
  const lines = keyed(cell, windows, (name) => {
    const line = $("window").content.firstElementChild.cloneNode(true);
    line.querySelector(".label").textContent = `a ${name}`;
    return line;
  });
  lines.forEach((line, i) => {
    const { available, capacity, full_in_s: fullInS } = budget[windows[i]];
    const left = `${whole(available)} of ${whole(capacity)}${fullInS ? `, full in ${age(Math.max(1000, fullInS * 1000))}` : ""}`;
    const meter = line.querySelector("meter");
    meter.max = capacity;
    meter.low = capacity / 5;
    meter.value = available;
    meter.setAttribute("aria-label", `${windows[i]}: ${left}`);
    write(line.querySelector(".left"), left);
  });
}

function button(label, act) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = label;
  element.addEventListener("click", act);
  return element;
}
