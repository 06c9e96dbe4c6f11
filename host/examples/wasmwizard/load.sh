#!/usr/bin/env bash
# Presses on a running wasmwizard with the keys of its three tiers at once, and tells what became of it:
#   host/examples/wasmwizard/load.sh [URL] [REQUESTS OF EACH TIER]
set -euo pipefail
url=${1:-http://127.0.0.1:3000}
requests=${2:-100}
module=$(dirname "$0")/primes.wat

press() { # The tier; answers a line of the table.
  seq "$requests" |
    xargs -P 4 -I{} curl -s -o /dev/null -w '%{http_code} %{time_total}\n' -H "x-api-key: demo-$1" \
      --data-binary "@$module" "$url/run?input=2000" |
    awk -v tier="$1" '
      { asked++; status[$1]++; if ($2 > slowest) slowest = $2 }
      END { printf "%-6s %6d %6d %8d %7d %9.0f ms\n", tier, asked, status[200], status[429], asked - status[200] - status[429], slowest * 1000 }'
}

printf '%-6s %6s %6s %8s %7s %12s\n' tier asked ran refused other slowest
for tier in free basic pro; do
  press "$tier" &
done
wait
