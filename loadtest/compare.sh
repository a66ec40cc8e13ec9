#!/usr/bin/env bash
# The same work against tickcast, the Node peer and the kernel's floor, in turn, several rounds; then a Markdown table of
# medians and ratios. In turn, because a shared machine drifts: only what is measured within minutes can be compared.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'USAGE'
Usage: loadtest/compare.sh [options] [-- flags for every `run` and `floor`]

  --rounds N        rounds (3)
  --scenarios LIST  runs at a given rate, against tickcast, node and floor ("s1 s1b s2")
  --max LIST        runs whose highest good rate is searched, against tickcast and node ("s1 s1b s2"; "" for none)
  --others LIST     scenarios for tickcast alone ("cycles s3 s4 storm unwatched shards"; "" for none)
  --node-too LIST   which of the others the Node peer runs as well ("s3 storm")
  --out DIR         where the JSON reports and table.md go (target/loadtest/DATE)
  --pin-server C    cores of the server (0)
  --pin-client C    cores of clients, publisher and Redis (1)

Example, the S1 row in a few minutes:
  loadtest/compare.sh --scenarios s1 --max "" --others "" -- --duration 5s
USAGE
}

rounds=3
scenarios="s1 s1b s2"
max="s1 s1b s2"
others="cycles s3 s4 storm unwatched shards"
node_too="s3 storm"
target=${CARGO_TARGET_DIR:-target}
out=$target/loadtest/$(date -u +%Y%m%d-%H%M%S)
pin_server=0
pin_client=1
extra=()
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --scenarios) scenarios=$2; shift 2 ;;
    --max) max=$2; shift 2 ;;
    --others) others=$2; shift 2 ;;
    --node-too) node_too=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --pin-server) pin_server=$2; shift 2 ;;
    --pin-client) pin_client=$2; shift 2 ;;
    --) shift; extra=("$@"); break ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; echo "compare.sh: what is $1?" >&2; exit 2 ;;
    esac
done

cargo build --release --quiet --workspace
[ -d loadtest/peers/node_modules ] || (cd loadtest/peers && npm ci --silent --no-audit --no-fund)
mkdir -p "$out"

loadtest=$target/release/tickcast-loadtest
declare -A servers=([tickcast]="exec $target/release/tickcast gateway" [node]="exec node loadtest/peers/node-ws.js")
pins=(--pin-server "$pin_server" --pin-client "$pin_client")
not_run=()

# measure NAME COMMAND…: one report. A broken promise (1) or a disturbed run (3) is marked in the table; the rest goes on.
measure() {
    local name=$1 code=0
    shift
    echo "== $name" >&2
    "$@" "${pins[@]}" --out "$out/$name.json" ${extra[@]+"${extra[@]}"} >"$out/$name.txt" || code=$?
    case $code in
    0 | 1 | 3) grep -E 'INVALID|DISTURBED|VIOLATED' "$out/$name.txt" >&2 || true ;;
    130) exit "$code" ;;
    *) not_run+=("$name (exit code $code)") ;;
    esac
}

run() { # run LABEL SCENARIO ROUND [flags]
    local label=$1 scenario=$2 round=$3
    shift 3
    measure "$scenario${1:+-max}-$label-$round" \
        "$loadtest" run --scenario "$scenario" --server "${servers[$label]}" --label "$label" "$@"
}

for round in $(seq "$rounds"); do
    for scenario in $scenarios; do
        run tickcast "$scenario" "$round"
        measure "$scenario-floor-$round" "$loadtest" floor --scenario "$scenario" --only paced --label floor
        run node "$scenario" "$round"
    done
    for scenario in $max; do
        run tickcast "$scenario" "$round" --find-max
        run node "$scenario" "$round" --find-max
    done
    for scenario in $others; do
        run tickcast "$scenario" "$round"
        case " $node_too " in *" $scenario "*) run node "$scenario" "$round" ;; esac
    done
done

reports=("$out"/*.json)
[ -e "${reports[0]}" ] || { echo "compare.sh: nothing was measured" >&2; exit 1; }
"$loadtest" table "${reports[@]}" | tee "$out/table.md"
echo "reports: $out" >&2
if [ ${#not_run[@]} -gt 0 ]; then
    printf 'not run: %s\n' "${not_run[@]}" >&2
    exit 1
fi
