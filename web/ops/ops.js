// The operators' page: reads the process every two seconds, draws it, sends what an operator asks for.

import { control, keepToken, read, Unauthorized } from "./desk.js";
import { age } from "./format.js";
import { showGateway, showProcess, showPublisher } from "./panels.js";
import { Rates } from "./rates.js";

const READ_MS = 2000;
/** Budgets are kept in the broker, and a hosted Redis bills what it is asked. */
const BUDGETS_MS = 10_000;
const $ = (id) => document.getElementById(id);
const rates = new Rates();
let heardAt = undefined;
let budgetsAt = -Infinity;
/** Whether a provider here has a budget at all. */
let budgeted = false;

async function look() {
  try {
    const due = budgeted && performance.now() - budgetsAt >= BUDGETS_MS;
    const { health, stats, metrics } = await read({ budgets: due });
    const now = performance.now();
    if (due) budgetsAt = now;
    budgeted = Object.values(stats.publisher?.providers ?? {}).some(({ budget }) => Object.keys(budget).length > 0);
    const since = rates.take(metrics, now);
    heardAt = now;
    showProcess(health);
    showGateway(stats.gateway, since);
    showPublisher(stats.publisher, since, act);
    document.querySelector("main").classList.remove("unheard");
  } catch (error) {
    document.querySelector("main").classList.add("unheard");
    $("health").dataset.tone = "bad";
    const last = heardAt === undefined ? "" : `, last heard ${age(performance.now() - heardAt)} ago`;
    $("health").textContent = `not reachable${last}: ${error.message}`;
  }
}

/** One reading at a time, each after a pause; a hidden page asks nothing. */
async function keepLooking() {
  if (document.visibilityState !== "hidden") await look();
  setTimeout(keepLooking, READ_MS);
}

// ---- pause and resume

/** What is to be sent again once there is a token. */
let waiting = undefined;

async function act(action, data) {
  $("outcome").textContent = `${action}…`;
  try {
    $("outcome").textContent = await control(action, data);
  } catch (error) {
    $("outcome").textContent = error.message;
    if (error instanceof Unauthorized) ask({ action, data });
  }
  await look();
}

function ask(message) {
  waiting = message;
  $("token").hidden = false;
  $("secret").focus();
}

function asked() {
  $("secret").value = "";
  $("token").hidden = true;
}

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("secret").value);
  asked();
  act(waiting.action, waiting.data);
});
$("give-up").addEventListener("click", () => {
  asked();
  $("outcome").textContent = "Nothing was changed.";
});
$("pause").addEventListener("submit", (event) => {
  event.preventDefault();
  const reason = $("reason").value.trim();
  act("pause", reason ? { reason } : {});
});
$("resume").addEventListener("click", () => act("resume", {}));
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && look());

keepLooking();
