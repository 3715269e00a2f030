#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

json() {
    runs 0 pi --json "$@" && /usr/bin/python3 -c '
import json, sys
made = json.load(open(sys.argv[1]))
print(*[made[name] for name in ("inside", "trials", "workers", "seed")])
assert abs(made["pi"] - 4 * made["inside"] / made["trials"]) < 1e-12
assert made["seconds"] > 0
' "$work/out" >"$work/numbers"
}

json -n 1e6
result $? "an object of numbers"

# The count of these points by an independent program: Random123's Philox, plain loops.
golden=785586
inside=$(cut -d' ' -f1 "$work/numbers")
[ "$inside" = "$golden" ] || echo "# inside is $inside, not $golden"
result $? "the count of a million points" "$([ "$inside" = "$golden" ])"

same=0
for workers in 1 2 3 7; do
    for isa in generic avx2 avx512 none; do
        TINE_ISA=$isa json -n 1_000_000 -j $workers
        read -r inside trials given seed <"$work/numbers"
        [ "$inside $trials $given $seed" = "$golden 1000000 $workers 1" ] || same=1
    done
done
result $same "the same with any number of workers and any instruction set"

same=0
for n in 1 2 1023 1024 1025 65535 65536 65537 131073; do
    json -n $n -j 1 && one=$(cat "$work/numbers")
    json -n $n -j 2 && two=$(cat "$work/numbers")
    [ "${one%% *}" = "${two%% *}" ] || same=1
done
result $same "any number of trials"

json -n 1e6 --seed 2 && [ "$(cut -d' ' -f1 "$work/numbers")" != "$golden" ]
result $? "another seed is another count"
json -n 1000 --seed 0xffffffffffffffff && grep -q 18446744073709551615 "$work/out"
result $? "a seed of 64 bits"

bad=0
json -n 2.5e3 && grep -q '"trials": 2500,' "$work/out" || bad=1
json --trials=1E3 --workers 2 && grep -q '"trials": 1000,' "$work/out" || bad=1
json -n1e+3 -j2 -- && grep -q '"workers": 2,' "$work/out" || bad=1
TINE_WORKERS=3 json -n 10 && grep -q '"workers": 3,' "$work/out" || bad=1
result $bad "numbers and options in every form"

bad=0
for value in 0 x '' -1 +1 1.5 1e 1e-1 .5 5. 1__0 _1 1_ 0x10 '1 ' 1e20 1e999 1e99999999999 \
    18446744073709551616 0e5; do
    complains "'$value'" pi -n "$value" || bad=1
    complains "--trials" pi "--trials=$value" || bad=1
done
for value in 0 -1 x 1025 1e9 ''; do
    complains "--workers" pi -j "$value" || bad=1
done
for value in x -1 0x 0xg 0x12345678123456789 18446744073709551616; do
    complains "--seed" pi --seed "$value" || bad=1
done
complains "'what'" pi what || bad=1
complains "'what'" pi -n 5 -- what || bad=1
complains "'--bogus'" pi --bogus || bad=1
complains "'-z'" pi -z || bad=1
complains "'-n'" pi -n || bad=1
complains "'--trials'" pi --trials || bad=1
complains "--json" pi --json=3 || bad=1
result $bad "bad input is named, with exit code 2"

runs 0 pi -n 18446744073709551615 --help
result $? "the largest number is one"

runs 0 pi -n 1e6 && grep -q '^pi  *3\.14' "$work/out" && [ ! -s "$work/err" ]
result $? "text, and nothing on stderr that is no terminal"
runs 0 pi -n 1e7 -j 2 --compare && grep -q '^one .* with one worker; with 2, .* times as [a-z]* as that' "$work/out"
result $? "--compare"
json -n 1e6 --compare && grep -q '"speedup": [0-9.]*}' "$work/out"
result $? "--compare --json"

# Parts in a cache: 16 of 65536 points, of which the last is cut short.
cached() {
    grep -q "\"parts\": $1, \"cached\": $2[,}]" "$work/out" && return 0
    echo "# not $2 of $1 cached: $(cat "$work/out")"
    return 1
}
bad=0
for workers in 1 2 5; do
    rm -rf "$work/cache"
    json -n 1e6 -j $workers --cache "$work/cache" && cached 16 0 || bad=1
    [ "$(cut -d' ' -f1 "$work/numbers")" = "$golden" ] || bad=1
    for again in 1 3; do
        json -n 1e6 -j $again --cache "$work/cache" && cached 16 16 || bad=1
        [ "$(cut -d' ' -f1 "$work/numbers")" = "$golden" ] || bad=1
    done
done
result $bad "a second run computes nothing"

bad=0
json -n 3e6 && three=$(cut -d' ' -f1 "$work/numbers")
json -n 3e6 --cache "$work/cache" && cached 46 15 || bad=1
[ "$(cut -d' ' -f1 "$work/numbers")" = "$three" ] || bad=1
json -n 1e6 --seed 2 --cache "$work/cache" && cached 16 0 || bad=1
runs 0 pi -n 1e6 --cache "$work/cache" && grep -qx 'cache    16 of 16 parts' "$work/out" || bad=1
json -n 1e6 && ! grep -q cached "$work/out" || bad=1
result $bad "what is in the cache is taken from it, the rest computed"

bad=0
complains "--compare" pi --cache "$work/cache" --compare -n 1000 || bad=1
ln -s "$work/cache" "$work/link"
complains "'$work/link'" pi --cache "$work/link" -n 1000 || bad=1
mkdir "$work/other" && touch "$work/other/precious"
complains "'$work/other'" pi --cache "$work/other" -n 1000 || bad=1
complains "''" pi --cache= -n 1000 || bad=1
result $bad "a folder that is no cache is named"

rm -rf "$work/cache"
for run in 1 2 3; do
    "$TINE" pi -n 2e7 -j 2 --json --cache "$work/cache" >"$work/at-once.$run" &
done
wait
total=$(cat "$work"/at-once.* | grep -o '"cached": [0-9]*' | awk '{ sum += $2 } END { print sum }')
# 306 parts, computed once among them.
[ "$total" = 612 ]
result $? "of runs at once, one computes each part"

# Ctrl-C: the shell's 128 + 2, and nobody is left.
family
(
    trap - INT
    PYTHONPATH=$work exec /usr/bin/python3 -c '
from family import *
run = start("pi", "-n", "1e15", "-j", "3")
wait_for(3, run)
time.sleep(0.1)
# The pool is one process that forks the workers.
assert len(members(run.pid)) == 4, members(run.pid)
os.killpg(run.pid, signal.SIGINT)
assert run.wait(30) == -signal.SIGINT, run.returncode
nobody_is_left(run)
' "$TINE"
)
result $? "Ctrl-C ends every process"
plan
