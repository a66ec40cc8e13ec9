#!/usr/bin/env bash
# Instructions per delivery of the hub, counted by callgrind: the same to the digit for the same binary, whatever else the
# machine does. Fails when a case needs more than 5 % above benches/instructions.json; --update writes that file.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is missing (Debian package valgrind)" >&2; exit 2; }

bench=$(cargo bench --locked --bench hub --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*hub-[^"]*\)".*/\1/p' | tail -1)
count() { # count CASE ROUNDS: instructions, deliveries
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" 2>&1 |
        awk '/Collected/ {instructions = $NF} /^[0-9]+$/ {deliveries = $1} END {print instructions, deliveries}'
}

rows=
for case in single:20 burst:2 cycle:2 conflate:50 churn:2000; do
    name=${case%:*} rounds=${case#*:}
    read -r few few_deliveries < <(count "$name" "$rounds")
    read -r many many_deliveries < <(count "$name" $((3 * rounds)))
    each=$(awk -v i=$((many - few)) -v d=$((many_deliveries - few_deliveries)) 'BEGIN {printf "%.1f", i / d}')
    rows+="${rows:+,$'\n'}  \"$name\": $each"
    printf '%-10s %8s instructions each\n' "$name" "$each"
done
if [ "${1:-}" = --update ]; then
    printf '{\n%s\n}\n' "$rows" >benches/instructions.json
    exit
fi
printf '{\n%s\n}\n' "$rows" | node -e '
const now = JSON.parse(require("fs").readFileSync(0)), then = JSON.parse(require("fs").readFileSync("benches/instructions.json"));
const worse = Object.keys(now).filter((name) => now[name] > then[name] * 1.05);
for (const name of worse) console.error(`${name}: ${now[name]} instructions, ${then[name]} before`);
process.exit(worse.length ? 1 : 0);'
