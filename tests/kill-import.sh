#!/usr/bin/env bash
# Kills the whole program at random moments of an import, starts it again, imports again, and looks
# whether anything was lost or doubled.
#
#   tests/kill-import.sh [ROUNDS] [SEED]     default: 20 rounds, seed from the clock
#
# Needs CONCHE (the program, default target/debug/conche below CARGO_TARGET_DIR) and the Online
# Retail file (CONCHE_TEST_DATA, default ../shared/data); without the file it says so and passes.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-20}
seed=${2:-$(date +%s)}
conche=${CONCHE:-${CARGO_TARGET_DIR:-target}/debug/conche}
file=${CONCHE_TEST_DATA:-../shared/data}/online-retail-5k.csv
[ -f "$file" ] || { echo "kill-import: skipped, there is no $file"; exit 0; }

# An import on an idle machine takes about this long; kills fall within it.
import_ms=${IMPORT_MS:-20000}
gross=10405557 net=10218924 orders=259 cancellations=29 corrections=12
RANDOM=$((seed % 32768))
work=$(mktemp -d /tmp/conche-kill.XXXXXX)
chmod 755 "$work"
unset DATABASE_URL
up_pid='' import_pid='' data=''

cleanup() {
    kill_all
    rm -rf "$work"
}
trap cleanup EXIT

# Everything of this data directory, PostgreSQL included, without a chance to say goodbye.
kill_all() {
    local pids=''
    [ -n "$up_pid" ] && pids="$up_pid"
    [ -n "$import_pid" ] && pids="$pids $import_pid"
    [ -n "$data" ] && [ -f "$data/postgres/postmaster.pid" ] &&
        pids="$pids $(head -n 1 "$data/postgres/postmaster.pid")"
    # shellcheck disable=SC2086
    if [ -n "${pids// /}" ]; then kill -9 $pids || true; fi
    wait || true
    up_pid='' import_pid=''
} 2>/dev/null # the shell reports every kill

start() {
    # A port the kernel picked is printed in the greeting.
    "$conche" --data-dir "$data" up --listen 127.0.0.1:0 >"$work/up.log" 2>"$work/up.err" &
    up_pid=$!
    for _ in $(seq 600); do
        address=$(sed -n 's|^  health *http://\([^/]*\)/.*|\1|p' "$work/up.log")
        [ -n "$address" ] && curl -fs -o /dev/null "http://$address/health/live" && return
        kill -0 "$up_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "kill-import: the program did not start:"; cat "$work/up.log" "$work/up.err"; exit 1
}

import() { "$conche" --data-dir "$data" import orders "$file" --progress never; }
events() { "$conche" --data-dir "$data" log stats --json | sed 's/.*"events":\([0-9]*\).*/\1/'; }

check() {
    local token report
    token=$("$conche" --data-dir "$data" token)
    # What is in the log now must be in the report: wait for its position.
    for _ in $(seq 100); do
        report=$(curl -fs -H "Authorization: Bearer $token" \
            "http://$address/api/v1/analytics/sales?dateFrom=2010-12-01&dateTo=2010-12-31&granularity=month")
        python3 - "$report" "$gross" "$net" "$orders" "$cancellations" "$corrections" <<'PY' && break
import json, sys
report, expected = json.loads(sys.argv[1]), [int(a) for a in sys.argv[2:]]
totals = report["totals"]
t = next((t for t in totals["currencies"] if t["currency"] == "GBP"), None)
found = t and [t["gross"]["amount_minor"], t["net"]["amount_minor"], t["orders"],
               t["cancellations"], totals["stock_corrections"]]
sys.exit(0 if found == expected else 1)
PY
        sleep 0.2
    done || { echo "kill-import: totals differ: $report"; exit 1; }
    "$conche" --data-dir "$data" log check
    "$conche" --data-dir "$data" projections verify
}

echo "kill-import: $rounds rounds, seed $seed"
for round in $(seq "$rounds"); do
    data="$work/$round"
    start
    import >"$work/import.log" 2>&1 &
    import_pid=$!
    wait_ms=$((RANDOM * import_ms / 32768))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    kill_all
    start
    before=$(events)
    import >"$work/import.log" 2>&1 || { cat "$work/import.log"; exit 1; }
    after=$(events)
    import >"$work/again.log" 2>&1 || { cat "$work/again.log"; exit 1; }
    [ "$(events)" = "$after" ] || { echo "kill-import: a repeated import appended events"; exit 1; }
    check >"$work/check.log" 2>&1 || { cat "$work/check.log"; exit 1; }
    echo "round $round: killed after $wait_ms ms at $before events, whole at $after"
    kill_all
    rm -rf "$data"
done
echo "$rounds passed, 0 failed"
