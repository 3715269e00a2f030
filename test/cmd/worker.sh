#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

bad=0
complains "URL" worker || bad=1
complains "'file:/x'" worker file:/x || bad=1
complains "'redis://h?pool='" worker 'redis://h?pool=' || bad=1
complains "'redis://h?pool={}'" workers 'redis://h?pool={}' || bad=1
complains "empty" isprime 1000000016000000063 --engine 'redis://h?pool=' || bad=1
complains "no redis:" pi -n 10 --engine 'http://h?pool=p' || bad=1
complains "too long" pi -n 10 --engine "redis://h?pool=$(printf '%0201d' 0)" || bad=1
complains "--lease" worker redis://h --lease 99 || bad=1
complains "--name" worker redis://h --name= || bad=1
complains "too long" worker "unix:/$(printf '%0120d' 0)" || bad=1
complains "'http://h'" workers http://h || bad=1
result $bad "bad input is named, with exit code 2"

runs 3 worker "unix:$work/none" && grep -q "none" "$work/err"
result $? "no server"

# refused KIND WHAT: a server of that kind is named by what uses one, with exit code 3.
refused() {
    "$BUILD/test/false-redis" "$1" "$work/$1" &
    false_redis=$!
    until [ -S "$work/$1" ]; do sleep 0.01; done
    sleep 0.1
    bad=0
    for words in worker workers "pi -n 10 --engine" "primes 1 10 --via map --engine" \
        "isprime 1000000016000000063 --engine"; do
        # shellcheck disable=SC2086
        if ! runs 3 $words "unix:$work/$1?pool=p" || ! grep -qF -- "$2" "$work/err" ||
            ! grep -qF "unix:$work/$1?pool=p" "$work/err"; then
            echo "# $words: $(cat "$work/err")"
            bad=1
        fi
    done
    kill "$false_redis"
    wait "$false_redis" 2>/dev/null
    return $bad
}

refused old "Redis 5.0.14"
result $? "an old server's version is named"
refused moved "another part of the cluster has this pool"
result $? "a node of a cluster that has not the pool"
refused layout "another version of tine"
result $? "a pool of another layout"
refused http "no Redis server"
result $? "a server that is no Redis"

# Programs of one name, in folders of their own: copies meet, others do not.
mkdir "$work/one" "$work/copy" "$work/other"
cp "$BUILD/test/pool-name-one" "$work/one/prog"
cp "$BUILD/test/pool-name-one" "$work/copy/prog"
strip "$work/copy/prog"
cp "$BUILD/test/pool-name-other" "$work/other/prog"
one=$("$work/one/prog" 2>"$work/err")
case $one in prog-????????????????) ;; *) false ;; esac &&
    [ "$one" = "$("$work/copy/prog" 2>"$work/err")" ] &&
    [ "$one" != "$("$work/other/prog" 2>"$work/err")" ]
result $? "programs of one name meet only where they are the same"

if ! command -v redis-server >/dev/null; then
    skip "a host that serves" "no redis-server"
    plan
    exit
fi

# The server ends with this shell.
"$TINE" manager >"$work/url" &
manager=$!
until [ -s "$work/url" ]; do sleep 0.01; done
url=$(cat "$work/url")

runs 0 workers "$url" && grep -q '^no host$' "$work/out"
result $? "no host"

# lists NAME: whether the host is there; waits for it.
lists() {
    for _ in $(seq 200); do
        "$TINE" workers "$url" >"$work/out" 2>&1
        ! grep -q "^$1 " "$work/out" || return 0
        sleep 0.05
    done
    sed 's/^/# /' "$work/out"
    return 1
}

"$TINE" worker "$url" -j 2 --name alpha &
worker=$!
lists alpha && grep -q '^ *tine-pi\.0\.c\.24\.8\.' "$work/out"
result $? "a host is listed, with its tasks"

"$TINE" workers "$url" --json | python3 -c '
import json, sys
[host] = json.load(sys.stdin)["hosts"]
assert host["name"] == "alpha" and host["workers"] == 2, host
assert host["done"] == 0 and host["silent_ms"] < 60000 and len(host["tasks"]) >= 2, host
'
result $? "the same as JSON"

# The same as on one machine, whatever the seconds.
bad=0
for words in "pi -n 3e6 --seed 7" "primes 1000 30000 --via map" \
    "isprime 1000000016000000063"; do
    # shellcheck disable=SC2086
    "$TINE" $words --json | sed 's/"seconds.*//; s/"workers.*//' >"$work/here"
    # shellcheck disable=SC2086
    "$TINE" $words --json --engine "$url" | sed 's/"seconds.*//; s/"workers.*//' \
        >"$work/there"
    [ -s "$work/here" ] && cmp "$work/here" "$work/there" || bad=1
    # What it has done, a host tells with its next beat.
    for _ in $(seq 200); do
        jobs=$("$TINE" workers "$url" --json | sed -n 's/.*"done": \([0-9]*\).*/\1/p')
        [ "$jobs" -le "${before:-0}" ] || break
        sleep 0.05
    done
    [ "$jobs" -gt "${before:-0}" ] || { echo "# $words: no host did it" && bad=1; }
    before=$jobs
done
result $bad "hosts find what one machine finds"

bad=0
complains "--workers" isprime 7 --engine "$url" -j 2 || bad=1
complains "--flag" isprime 7 --engine "$url" --flag event || bad=1
result $bad "what is a host's business is refused"

kill "$worker"
wait "$worker" && runs 0 workers "$url" && grep -q '^no host$' "$work/out"
result $? "SIGTERM drains it"

# Others see that it is gone once its lease is over.
"$TINE" worker "$url" -j 1 --name beta --lease 300 &
worker=$!
"$TINE" worker "$url" -j 1 --name gamma &
other=$!
bad=1
if lists beta && lists gamma; then
    kill -KILL "$worker"
    wait "$worker" 2>/dev/null
    for _ in $(seq 200); do
        "$TINE" workers "$url" | grep -q '^beta ' || { bad=0 && break; }
        sleep 0.05
    done
fi
kill "$other"
wait "$other" || bad=1
result $bad "a host that is killed is missed"

kill "$manager"
wait "$manager" 2>/dev/null
plan
