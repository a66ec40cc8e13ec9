#!/usr/bin/env bash
# Asks a running gateway what a user would: scripts/smoke.sh URL [SYMBOL], as in scripts/smoke.sh https://quotes.example.com AAPL
#
# Health, page, REST, and a quote over the socket. Needs curl, and for the socket tickcast (in PATH, or TICKCAST) or Node 22.
# A gateway that wants a token gets $TICKCAST_TOKEN. Exit code 0 when all is well; each failure is a line on standard error.
set -uo pipefail

url=${1:?usage: scripts/smoke.sh URL [SYMBOL]}
url=${url%/}
symbol=${2:-AAPL}
socket=ws${url#http}/ws
wait_s=${SMOKE_WAIT_S:-20}
tickcast=${TICKCAST:-$(command -v tickcast || true)}
bearer=()
[ -z "${TICKCAST_TOKEN:-}" ] || bearer=(-H "Authorization: Bearer $TICKCAST_TOKEN")
failed=0

check() { # check WHAT COMMAND…: says how it went
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        printf 'ok    %-8s %.120s\n' "$what" "$(head -n 1 <<<"$said")"
    else
        printf 'FAIL  %-8s %s\n' "$what" "$said" >&2
        failed=1
    fi
}

get() { curl -fsS --max-time "$wait_s" "${bearer[@]}" "$@"; }

health() { get "$url/health" | grep -E '"status":"(healthy|degraded)"'; }

page() { get "$url/" | grep -io '<title>[^<]*</title>'; }

rest() { get "$url/api/quotes?symbols=$symbol" | grep '"symbol":"'"${symbol^^}"'"'; }

quote() {
    if [ -n "$tickcast" ]; then
        timeout "$wait_s" "$tickcast" tail "$symbol" --url "$socket" --json --quiet -n 1
    elif node -e 'process.exit(typeof WebSocket === "function" ? 0 : 1)' 2>/dev/null; then
        node -e '
            const [url, symbol, seconds] = process.argv.slice(1);
            const token = process.env.TICKCAST_TOKEN;
            const socket = new WebSocket(url, token ? ["bearer", token] : []);
            const fail = (why) => { console.error(why); process.exit(1); };
            setTimeout(() => fail(`no quote of ${symbol} within ${seconds} s`), seconds * 1000);
            socket.onopen = () => socket.send(JSON.stringify({ action: "subscribe", symbols: [symbol] }));
            socket.onclose = (event) => fail(`closed with ${event.code} ${event.reason}`);
            socket.onmessage = ({ data }) => {
                if (JSON.parse(data).type !== "price_update") return;
                console.log(data);
                process.exit(0);
            };' "$socket" "$symbol" "$wait_s"
    else
        echo "neither tickcast nor Node 22 is here" && return 1
    fi
}

check health health
check page page
check rest rest
check socket quote
exit "$failed"
