#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of pools, with hosts that do the jobs: TEST_ENGINE, see test/elsewhere.c. It
# lists the exceptions.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

command -v redis-server >/dev/null || {
    skip "pools on an engine" "no redis-server"
    plan
    exit
}
redis-server --port 0 --unixsocket "$work/redis" --save '' --appendonly no --dir "$work" \
    >"$work/log" 2>&1 &
server=$!
for _ in $(seq 500); do
    [ -S "$work/redis" ] && break
    sleep 0.01
done
# As a user that has what tine-engines(7) says, but the keys of all pools.
rules=$(sed -n '/^ACL SETUSER/,/^\.Ed/{ /^\.Ed/d; s/{p}/{*}/; p; }' man/tine-engines.7)
set -f
# shellcheck disable=SC2086
[ "$(redis-cli -s "$work/redis" $rules)" = OK ]
result $? "the rules of the page"
set +f
# All but what steps through a desk without a pool, of which the scale leaves one step.
for program in pool find index submit job bytes limits retry pieces progress cache-pool \
    pool-fd; do
    TEST_SCALE=100 TEST_ENGINE=unix:$work/redis "$BUILD/test/test-$program" \
        -a_worker_killed_at_every_step -cancelled_at_every_step >"$work/out" 2>&1
    code=$?
    [ $code -eq 0 ] || grep -v '^ok' "$work/out" | sed 's/^/# /'
    result $code "test-$program with hosts"
done
kill -9 $server
plan
