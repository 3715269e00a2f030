#!/bin/sh
# SPDX-License-Identifier: MIT
# --trace of every command that computes, and TINE_TRACE.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

# check FILE PROGRAM: with the events in e, those of the name in named(name, phase).
check() {
    /usr/bin/python3 -c '
import json, sys
e = json.load(open(sys.argv[1]))
assert isinstance(e, list) and len(e) > 2
lanes = {}
for each in [x for x in e if x["ph"] == "M"] + [x for x in e if x["ph"] != "M"]:
    assert each["ph"] in "MXiBE", each
    assert isinstance(each["pid"], int) and isinstance(each["tid"], int), each
    if each["ph"] == "M":
        lanes[each["name"], each["pid"], each["tid"]] = each["args"]["name"]
    else:
        assert each["ts"] >= 0 and each.get("dur", 0) >= 0, each
        assert ("thread_name", each["pid"], each["tid"]) in lanes, each
def named(name, phase=None):
    return [x for x in e if x["name"] == name and phase in (None, x["ph"])]
threads = sorted(name for (what, _, _), name in lanes.items() if what == "thread_name")
# Every job of every map once.
def covered(deaths=0):
    for map in [x["args"] for x in e if x.get("cat") == "map" and x["ph"] in "XB"]:
        times = [0] * map["jobs"]
        for x in e:
            if x.get("cat") == "job" and x["args"]["map"] == map["map"]:
                first, count = x["args"]["first"], x["args"]["count"]
                deaths -= "died_in" in x["args"]
                for job in range(first, first + count):
                    times[job] += 1
        assert times == [1] * map["jobs"], (map, times)
    assert deaths == 0
'"$2" "$1"
}

runs 0 pi -n 5e7 -j 3 --trace "$work/pi.json" && [ ! -s "$work/err" ] && check "$work/pi.json" '
covered()
assert threads == ["caller", "tine-worker 0", "tine-worker 1", "tine-worker 2"], threads
assert len(named("started")) == 3 and not named("died"), e
assert named("tine-pi", "X")
'
result $? "pi"
runs 0 primes 1e8 1003e5 -j 2 --via map "--trace=$work/map.json" && check "$work/map.json" '
covered()
assert named("check_batch", "X")
'
result $? "primes, by a map"
runs 0 primes 1e8 1003e5 -j 2 --trace "$work/queue.json" && check "$work/queue.json" '
assert len(named("primes", "B")) == 2 and len(named("end", "E")) == 2
assert {x["pid"] for x in named("primes", "B")} == {x["pid"] for x in named("end", "E")}
'
result $? "primes, by a queue"
runs 0 isprime 100109100129162907 -j 2 --flag none --trace "$work/isprime.json" &&
    check "$work/isprime.json" '
covered()
'
result $? "isprime"

runs 0 map -j 2 --trace "$work/lanes.json" -c 'sleep 0.1; echo $1' ::: a b a &&
    check "$work/lanes.json" '
assert threads == ["slot 0", "slot 1"], threads
assert len(named("a", "X")) == 2 and len(named("b", "X")) == 1, e
jobs = [x for x in e if x["ph"] == "X"]
assert sorted(x["args"]["job"] for x in jobs) == [1, 2, 3], jobs
assert all(x["dur"] > 9e4 and x["args"]["exit"] == 0 for x in jobs), jobs
assert all(x["args"]["attempt"] == 1 and not x["args"]["kept"] for x in jobs), jobs
a, b = sorted((x for x in jobs if x["tid"] == jobs[2]["tid"]), key=lambda x: x["ts"])
assert a["ts"] + a["dur"] <= b["ts"] + 1, jobs
'
result $? "map: a lane a slot"
runs 1 map -j 1 --retries 1 --trace "$work/lanes.json" -c 'exit 3' ::: 'q"
'"$(printf '%0300d' 0)" && check "$work/lanes.json" '
first, second = [x for x in e if x["ph"] == "X"]
assert first["name"] == second["name"] == "q\"\n" + 197 * "0", first
ends = [(x["args"]["attempt"], x["args"]["exit"], x["args"]["reason"]) for x in (first, second)]
assert ends == [(1, 3, "exit 3"), (2, 3, "exit 3")], e
'
result $? "map: each attempt"
runs 0 map --until success -j 2 --trace "$work/lanes.json" -c '[ $1 = b ] || sleep 60' ::: a b c &&
    check "$work/lanes.json" '
assert named("a", "X")[0]["args"]["reason"] == "not wanted any more", e
assert len(named("b", "X")) == 1, e
'
result $? "map: a job that was ended"
for kept in false true; do
    runs 0 map --cache "$work/lanes" --trace "$work/lanes.json" echo ::: a &&
        check "$work/lanes.json" 'assert named("a", "X")[0]["args"]["kept"] == '"$(
            [ $kept = true ] && echo True || echo False)"
    result $? "map: kept is $kept"
done
TINE_TRACE=jobs.json runs 0 map --trace "$work/lanes.json" -c 'echo $TINE_TRACE' ::: a &&
    [ "$(cat "$work/out")" = jobs.json ] && [ ! -e jobs.json ]
result $? "map: TINE_TRACE is left to its jobs"
complains "not a regular file" map --trace /dev/null echo ::: a &&
    complains "'/nowhere/x'" map --trace /nowhere/x touch ::: "$work/ran" &&
    [ ! -e "$work/ran" ]
result $? "map: a file that cannot be written is told before a job runs"
"$TINE" map -j 1 --trace "$work/lanes.json" -c '[ "$1" = a ] || { : >"$1"; exec sleep 60; }' \
    ::: a "$work/second" &
for _ in $(seq 600); do
    [ -e "$work/second" ] || sleep 0.05
done
kill -9 $!
wait $! 2>/dev/null
check "$work/lanes.json" 'assert len(named("a", "X")) == 1'
result $? "map: when it is killed it leaves JSON"

# Each command of the help that has workers of its own has it.
bad=0
for command in $(commands | grep -vx worker); do
    "$TINE" help "$command" | grep -q -- '--workers' || continue
    "$TINE" help "$command" | grep -q -- '--trace FILE' || { echo "# $command" && bad=1; }
done
result $bad "every command that computes has it"

bad=0
complains "'/nowhere/x'" pi -n 10 --trace /nowhere/x || bad=1
complains "'$work'" primes 0 10 --trace "$work" || bad=1
complains "not a regular file" isprime 5 --trace /dev/null || bad=1
complains "''" pi -n 10 --trace= || bad=1
[ "$(id -u)" -eq 0 ] || {
    : >"$work/read-only" && chmod 400 "$work/read-only"
    complains "'$work/read-only'" pi -n 10 --trace "$work/read-only" || bad=1
}
result $bad "a file that cannot be written is named, with exit code 2"

TINE_TRACE=/nowhere/x runs 0 pi -n 10 && [ ! -s "$work/err" ]
result $? "TINE_TRACE that cannot be written is quiet"
TINE_TRACE=$work/env.json runs 0 pi -n 1e6 && check "$work/env.json" 'covered()'
result $? "TINE_TRACE"
TINE_TRACE=$work/no.json runs 0 pi -n 1e6 --trace "$work/yes.json" && [ ! -e "$work/no.json" ] &&
    check "$work/yes.json" 'covered()'
result $? "--trace goes before TINE_TRACE"
runs 0 pi -n 1e6 --trace "$work/a%p%%b.json" && check "$work/a%p%%b.json" 'covered()'
result $? "a path is taken as it is"
TINE_TRACE=$work/%p.json runs 0 pi -n 1e6 && [ -n "$(find "$work" -name '[0-9]*.json')" ]
result $? "%p is the number of the process"

runs 0 pi -n 1e6 --trace "$work/twice.json" && runs 0 pi -n 1e6 -j 1 --trace "$work/twice.json" &&
    check "$work/twice.json" 'covered(); assert threads == ["caller", "tine-worker 0"], threads'
result $? "a second run begins the file anew"
(cd "$work" && runs 0 pi -n 1e6 --trace relative.json) && check "$work/relative.json" 'covered()'
result $? "a relative path"

family
PYTHONPATH=$work /usr/bin/python3 -c '
from family import *
run = start("primes", "100000000", "102000000", "-j", "2", "--via", "map", "--trace", sys.argv[2])
wait_for(2, run)
killed = workers(run.pid)[0]
# In a job: it has used the processor.
while int(open(f"/proc/{killed}/stat").read().rsplit(")")[1].split()[11]) < 10:
    time.sleep(0.01)
os.kill(killed, signal.SIGKILL)
run.communicate(timeout=60)
open(sys.argv[3], "w").write(str(killed))
' "$TINE" "$work/killed.json" "$work/pid" && check "$work/killed.json" '
pid = int(open("'"$work/pid"'").read())
died, = named("died")
assert died["args"]["pid"] == pid and died["args"]["signal"] == 9, died
replaced, = named("replaced")
assert replaced["args"]["replaces"] == pid and replaced["tid"] == died["tid"], replaced
jobs = [x for x in e if "died_in" in x.get("args", {})]
assert len(jobs) == 1 and jobs[0]["args"]["died_in"] == died["args"]["job"], jobs
'
result $? "a worker that is killed, and the one in its place"

PYTHONPATH=$work /usr/bin/python3 -c '
from family import *
run = start("pi", "-n", "1e15", "-j", "2", "--trace", sys.argv[2])
wait_for(2, run)
time.sleep(0.5)
os.kill(run.pid, signal.SIGKILL)
run.wait(30)
nobody_is_left(run)
' "$TINE" "$work/dead.json" && check "$work/dead.json" '
assert named("tine-pi", "B") and not named("tine-pi", "E")
assert len(named("tine-pi", "X")) > 20
'
result $? "a command that is killed leaves JSON"
plan
