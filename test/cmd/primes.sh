#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

oracle=$BUILD/test/primesieve
top=18446744073709551616

# agrees FIRST LAST OPTION...: all primes, and the object, are what primesieve says.
agrees() {
    first=$1 last=$2
    shift 2
    "$oracle" "$first" "$last" >"$work/expected" || return 1
    runs 0 primes "$first" "$last" --print "$@" || return 1
    cmp "$work/out" "$work/expected" || { echo "# primes $first $last $*" && return 1; }
    runs 0 primes "$first" "$last" --json "$@" || return 1
    /usr/bin/python3 -c '
import json, sys
made = json.load(open(sys.argv[1]))
primes = [int(line) for line in open(sys.argv[2])]
assert made["first"] == int(sys.argv[3]) and made["last"] == int(sys.argv[4]), made
assert made["count"] == len(primes), (made, len(primes))
assert made["primes_first"] == primes[:10], made
assert made["primes_last"] == primes[-10:], made
assert made["seconds"] >= 0
' "$work/out" "$work/expected" "$first" "$last"
}

# proves NAME FIRST LAST OPTION...: the same, as a test of its own, where there is an oracle.
proves() {
    name=$1
    shift
    if [ -x "$oracle" ]; then
        agrees "$@"
        result $? "$name"
    else
        skip "$name" "no libprimesieve"
    fi
}

proves "up to a million through queues" 0 1000000 --via queue -j 2
proves "up to a million by a map" 0 1000000 --via map -j 2
proves "up to a million in a loop" 0 1000000 --via serial

if [ -x "$oracle" ]; then
    bad=0
    for workers in $(sample 2 1 2 4 7); do
        for via in queue map serial; do
            agrees 99990000 100010000 --via $via -j $workers || bad=1
            grep -q "\"via\": \"$via\"" "$work/out" || bad=1
            [ $via = serial ] || grep -q "\"workers\": $workers," "$work/out" || bad=1
        done
    done
    result $bad "any number of workers, any way"

    bad=0
    for via in $(sample 1 queue map serial); do
        for range in "0 0" "0 1" "0 2" "0 3" "1 3" "2 3" "3 4" "4 9" "5 5" "24 30" \
            "63 64" "63 65" "64 129" "0 1024" "1 1026" "120 49000" "100000007 100000007" \
            "100000007 100000008" "9998200081 9998200083" "4294966297 4294968297" \
            "4295098369 4295098370" "999999000000 999999000900"; do
            # shellcheck disable=SC2086
            agrees $range --via $via -j 2 || bad=1
        done
    done
    result $bad "ranges that begin and end anywhere"

    bad=0
    for via in queue map serial; do
        agrees 18446744073709551558 $top --via $via -j 2 || bad=1
        agrees 18446744073709551615 $top --via $via -j 2 || bad=1
        agrees 18446744073709551600 18446744073709551615 --via $via -j 2 || bad=1
    done
    result $bad "to the end of 64 bits"
else
    skip "any number of workers, any way" "no libprimesieve"
    skip "ranges that begin and end anywhere" "no libprimesieve"
    skip "to the end of 64 bits" "no libprimesieve"
fi

# All primes below 2^32 are wanted for the one, those below 2^28 for the other.
if [ "${TEST_SOAK-}" ]; then prime=18446744073709551557; else prime=72057594037927931; fi
runs 0 primes $prime "$(expr $prime + 1)" --json -j 2 &&
    grep -q "\"count\": 1, \"primes_first\": \[$prime\]" "$work/out"
result $? "the largest prime of 64 bits, or of 56"

# More than one window: pi(5e6), as primesieve counts.
bad=0
for via in queue map serial; do
    runs 0 primes 0 5e6 --via $via && grep -q '^primes   348513 in \[0, 5000000)$' "$work/out" &&
        grep -q '^first    2 3 5 7 11 13 17 19 23 29$' "$work/out" &&
        grep -q '^last    .* 4999961 4999963 4999999$' "$work/out" || bad=1
done
runs 0 primes 14 16 && grep -q '^primes   0 in' "$work/out" && ! grep -q first "$work/out" || bad=1
result $bad "text"

bad=0
for value in x '' 1.5 1e 0x10 1e20 18446744073709551616 18446744073709551617; do
    complains "'$value'" primes "$value" $top || bad=1
    complains FIRST primes "$value" $top || bad=1
done
for value in x '' 1.5 1__0 1_ 0x10 1e20 18446744073709551617 184467440737095516160 \
    _18446744073709551616 18446744073709551616_ 18446744073709551616x; do
    complains "'$value'" primes 0 "$value" || bad=1
    complains LAST primes 0 "$value" || bad=1
done
complains "'-5'" primes -5 5 || bad=1
complains "'1_0'" primes 20 1_0 || bad=1
complains "'20'" primes 20 1_0 || bad=1
complains "FIRST" primes || bad=1
complains "LAST" primes 5 || bad=1
complains "'what'" primes 5 9 what || bad=1
complains "'fast'" primes 5 9 --via fast || bad=1
complains "queue, map or serial" primes 5 9 --via fast || bad=1
complains "''" primes 5 9 --via= || bad=1
complains "--workers" primes 5 9 -j 0 || bad=1
complains "--json" primes 5 9 --print --json || bad=1
complains "--compare" primes 5 9 --print --compare || bad=1
complains "serial" primes 5 9 --compare --via serial || bad=1
result $bad "bad input is named, with exit code 2"

bad=0
runs 0 primes -j2 1e2 --via=map 1_1e1 --json && grep -q '"count": 4,' "$work/out" || bad=1
runs 0 primes --json -- 0 1.1e1 && grep -q '"count": 4,' "$work/out" || bad=1
runs 0 primes 18_446_744_073_709_551_615 18_446_744_073_709_551_616 --json &&
    grep -q '"last": 18446744073709551616, "count": 0,' "$work/out" || bad=1
runs 0 primes 9 9 --print && [ ! -s "$work/out" ] || bad=1
result $bad "numbers and options in every form"

runs 0 primes 0 2e5 --compare -j 3 && grep -q '^serial .* with 1 worker: 1.00 times' "$work/out" &&
    [ "$(grep -c '^queue .* with [13] workers\{0,1\}: .* times as [a-z]* as serial' "$work/out")" -eq 2 ]
result $? "--compare"
runs 0 primes 0 2e5 --compare --json -j 3 --via map && /usr/bin/python3 -c '
import json, sys
runs = json.load(open(sys.argv[1]))["runs"]
assert [(run["via"], run["workers"]) for run in runs] == [("serial", 1), ("map", 1), ("map", 3)]
for run in runs:
    assert abs(run["speedup"] - runs[0]["seconds"] / run["seconds"]) < 0.001, run
' "$work/out"
result $? "--compare --json"
runs 0 primes 0 100 --compare --json -j 1 && [ "$(grep -o '"via": "queue", "workers": 1' \
    "$work/out" | wc -l)" -eq 1 ]
result $? "--compare of one worker"

# Prints as it goes, and of the whole of 64 bits no more than a window is in memory.
for via in queue map serial; do
    /usr/bin/python3 -c '
import os, subprocess, sys, time
run = subprocess.Popen([sys.argv[1], "primes", "0", "18446744073709551616", "--print", "-j", "2",
                        "--via", sys.argv[2]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
begun = time.time()
primes = [int(run.stdout.readline()) for _ in range(30000)]
assert primes[-1] == 350377, primes[-1]
assert primes == sorted(set(primes))
assert time.time() - begun < 30
run.stdout.close()
_, status, used = os.wait4(run.pid, 0)
run.returncode = 0
assert os.WTERMSIG(status) == 13, status
assert run.stderr.read() == b""
assert used.ru_maxrss < 64 << 10, used.ru_maxrss
' "$TINE" $via
    result $? "$via prints while it works, and a closed pipe ends it in silence"
done

timeout 300 "$TINE" primes 0 1e18 --print -j 2 >/dev/full 2>"$work/err"
[ $? -eq 3 ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q 'No space left' "$work/err"
result $? "a full disk ends it"

if command -v script >/dev/null; then
    script -qec "$TINE primes 1e8 1015e5 2>&1 >/dev/null" /dev/null >"$work/out" </dev/null
    grep -q '#' "$work/out" && grep -q '100 %' "$work/out"
    result $? "progress on a terminal"
    script -qec "$TINE primes 1e8 1005e5 --print" /dev/null >"$work/out" </dev/null
    grep -q '100000007' "$work/out" && ! grep -q '%' "$work/out"
    result $? "no progress between primes"
else
    skip "progress on a terminal" "no script(1)"
    skip "no progress between primes" "no script(1)"
fi

family

for via in queue map serial; do
    (
        trap - INT
        PYTHONPATH=$work exec /usr/bin/python3 -c '
from family import *
run = start("primes", "0", "18446744073709551616", "-j", "3", "--via", sys.argv[2])
wait_for(0 if sys.argv[2] == "serial" else 3, run)
time.sleep(0.1)
os.killpg(run.pid, signal.SIGINT)
assert run.wait(30) == -signal.SIGINT, run.returncode
nobody_is_left(run)
assert run.stdout.read() == ""
' "$TINE" $via
    )
    result $? "Ctrl-C ends every process of $via"
done

# The primes of the range are 54208 in any case.
for via in queue map; do
    PYTHONPATH=$work /usr/bin/python3 -c '
from family import *
import json
via = sys.argv[2]
for delay in sample(2, (0, 0.01, 0.03, 0.05, 0.07, 0.1)):
    run = start("primes", "100000000", "101000000", "-j", "3", "--json", "--via", via)
    wait_for(3, run)
    time.sleep(delay)
    killed = workers(run.pid)[-1 if delay else -2:]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, (run.returncode, err)
    assert json.loads(out)["count"] == 54208, (delay, out)
    for pid in killed:
        assert via == "map" or f"signal 9 ended worker {pid}" in err, err
    nobody_is_left(run)
' "$TINE" $via
    result $? "when a worker of $via is killed, the answer is right"
done

PYTHONPATH=$work /usr/bin/python3 -c '
from family import *
for n in 1, 3:
    run = start("primes", "100000000", "18446744073709551616", "-j", str(n))
    wait_for(n, run)
    for pid in workers(run.pid):
        os.kill(pid, signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 1 and out == "" and "no worker is left" in err, (run.returncode, err)
    nobody_is_left(run)
' "$TINE"
result $? "when all workers are killed, it says so"
plan
