#!/bin/sh
# SPDX-License-Identifier: MIT
# The tour, quickly: its lessons, what it writes, and what becomes of it when it is ended.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

unset TINE_WORKERS TINE_TRACE
mkdir "$work/tmp"
export TMPDIR="$work/tmp"

# tells PROGRAM: what the JSON in $work/json says; program(lesson, id) is one of it.
tells() {
    /usr/bin/python3 -c '
import json, sys
made = json.load(open(sys.argv[1]))
lessons = {lesson["id"]: lesson for lesson in made["lessons"]}
programs = {(name, each["id"]): each for name, lesson in lessons.items()
            for each in lesson["programs"]}
def program(lesson, name):
    return programs[lesson, name]
'"$1" "$work/json" && return 0
    sed 's/^/# /' "$work/out"
    return 1
}

runs 0 tour --quick -j 2 --json "$work/json" --html "$work/page.html" --trace "$work/trace"
result $? "all of it, quickly"
[ ! -s "$work/err" ] && [ -z "$(ls "$work/tmp")" ]
result $? "it says nothing on the way, and leaves nothing"
tells '
assert list(lessons) == ["pi", "cache", "vectors", "streams", "primes", "check", "flags", "kill"]
assert made["quick"] is True and made["workers"] == 2 and made["seconds"] > 0, made
for (lesson, name), each in programs.items():
    assert not each["failed"] and not each["python"], each
    assert (each["seconds"] is None) == (each["left_out"] is not None), each
    first = lessons[lesson]["programs"][0]
    assert each["left_out"] or abs(each["ratio"] * each["seconds"] / first["seconds"] - 1) < 1e-6
'
result $? "every lesson, and ratios to its first program"
tells '
assert program("pi", "one")["note"] == program("pi", "pool")["note"] == program("cache", "warm")["note"]
assert program("vectors", "vectors")["note"] == program("vectors", "one-vectors")["note"]
same, own = program("streams", "inherited"), program("streams", "own")
assert len(same["estimates"]) == 16 and len(set(same["estimates"])) == 1, same
assert len(set(own["estimates"])) == 16 and own["estimates"] == program("streams", "one")["estimates"]
assert "killed after" in program("kill", "killed")["note"], programs
for flag in "event", "file", "store", "manager", "mirror":
    each = program("flags", flag)
    assert each["left_out"] or 0 < each["look"] < 1, each
'
result $? "what the lessons show"
/usr/bin/python3 -c '
import json, sys
events = json.load(open(sys.argv[1]))
spans = [each for each in events if each["ph"] == "X"]
names = {each["name"] for each in events}
assert {"points_inside", "divide", "replaced"} <= names, names
assert any(each["ph"] == "i" and each["name"] == "died" for each in events), names
assert len({each["pid"] for each in spans}) > 5
' "$work/trace"
result $? "the trace of all of it, a death and a replacement included"
grep -q '^The report is in .*page\.html$' "$work/out" && grep -q '</html>' "$work/page.html"
result $? "the report, and where it is"
awk '!/page.html/ && length($0) > 80 { exit 1 }' "$work/out" && for word in "Pi from random points" \
    "Primes through queues" "A worker is killed" "2 workers, a full cache"; do
    grep -q "$word" "$work/out" || exit 1
done
result $? "the table, in 80 columns"

! grep -q '1/[0-9]' "$work/out" "$work/page.html" && grep -q 'x slower' "$work/out"
result $? "what is slower is said so, and is no fraction"
tells 'assert made["load"] > 0 and isinstance(made["load"], float), made'
result $? "how busy the machine was"

# Whoever has it open, or by another name, has the old one, whole.
mkdir "$work/reports"
echo "what there was" >"$work/reports/kept"
chmod 640 "$work/reports/kept"
ln "$work/reports/kept" "$work/old"
ln -s kept "$work/reports/link"
runs 0 tour -q streams --html "$work/reports/link" --json "$work/reports/new" &&
    [ "$(cat "$work/old")" = "what there was" ] && grep -q '</html>' "$work/reports/kept" &&
    [ "$(stat -c %a "$work/reports/kept")" = 640 ] && [ -L "$work/reports/link" ] &&
    [ "$(stat -c %a "$work/reports/new")" = "$(printf %o $((0666 & ~$(umask))))" ] &&
    [ "$(cd "$work/reports" && echo *)" = "kept link new" ]
result $? "a report takes the place of the old one, in one step"

runs 0 tour -q -j 1 kill pi && grep -q '^  1 worker ' "$work/out" &&
    [ "$(grep '^[A-Z]' "$work/out" | grep -vc '^The machine was busy')" -eq 2 ] &&
    [ "$(grep -n '^Pi from' "$work/out" | cut -d: -f1)" -eq 1 ]
result $? "lessons that are named, in the tour's order, with one worker"
runs 0 tour -q streams --json - && cp "$work/out" "$work/json" && tells '
assert list(lessons) == ["streams"]
'
result $? "JSON on standard output, instead of the table"

(
    # shellcheck disable=SC2123
    PATH=/nonexistent
    runs 0 tour -q flags --json "$work/json"
) && tells '
assert program("flags", "manager")["left_out"] == "there is no redis-server"
assert program("flags", "mirror")["seconds"] is None and program("flags", "store")["seconds"]
'
result $? "without a Redis server its programs are left out"
(
    # shellcheck disable=SC2123
    PATH=/nonexistent
    runs 0 tour -q streams --python --json "$work/json"
) && tells '
python = [each for each in programs.values() if each["python"]]
assert python and all(each["left_out"] or each["seconds"] for each in python), python
'
result $? "Python is left out, or found without a path"

# Programs without descriptors for so many processes.
sh -c 'ulimit -n 9; exec "$@"' - "$TINE" tour -q streams >"$work/out" 2>"$work/err"
[ $? -eq 1 ] && [ "$(grep -c 'FAILED$' "$work/out")" -eq 2 ] && [ ! -s "$work/err" ] &&
    grep -q '^      Too many open files' "$work/out" && grep -q '^  one process .*s  ' "$work/out"
result $? "a program that fails is one line, and exit code 1"

complains "'nothing'" tour nothing && complains "'$work/none/page'" tour --html "$work/none/page" &&
    complains "'$work'" tour --json "$work" && complains "''" tour --trace ""
result $? "bad lessons and files are told before anything runs"
for option in html json trace; do
    runs 3 tour -q streams "--$option" /dev/full && grep -q "'/dev/full': No space" "$work/err" &&
        [ -z "$(ls "$work/tmp")" ]
    result $? "--$option on a full disk"
done
TMPDIR="$work/none" runs 3 tour -q streams && grep -q "a temporary folder: No such" "$work/err"
result $? "a temporary folder that cannot be made is told"

if command -v script >/dev/null; then
    # The first has no width, the second 40 columns.
    for width in "" "stty cols 40;"; do
        script -qec "$width $TINE tour -q streams" /dev/null </dev/null | tr '\r' '\n'
    done >"$work/out"
    grep -qx '\[1/1\] Why each stream of random numbers must differ: one process *' "$work/out" &&
        grep -qx '\[1/1\] Why each stream of random numbers *' "$work/out"
    result $? "a terminal sees what runs, in one line"
else
    skip "a terminal sees what runs, in one line" "no script(1)"
fi

family
cat >"$work/end.py" <<'END'
from family import *
import itertools

tine, work = sys.argv[1:3]
# Every program of a lesson may be the one that runs, and each has other processes.
for lesson, wait, number in sample(9, itertools.product(
        ("pi", "streams", "primes", "flags", "kill"), (0.05, 0.4),
        (signal.SIGTERM, signal.SIGINT, signal.SIGKILL))):
    open(f"{work}/kept", "w").write("what there was")
    made = start("tour", "-j", "2", lesson, "--html", f"{work}/kept")
    time.sleep(wait)
    assert made.poll() is None, made.communicate()
    os.kill(made.pid, number)
    assert made.wait(30) == -number, made.returncode
    nobody_is_left(made)
    assert made.communicate() == ("", ""), lesson
    assert open(f"{work}/kept").read() == "what there was"
    begun = time.time()
    while number == signal.SIGKILL and os.listdir(f"{work}/tmp"):
        assert time.time() - begun < 30, lesson
        time.sleep(0.01)
    assert not os.listdir(f"{work}/tmp"), (lesson, number)
END
PYTHONPATH=$work timeout 300 /usr/bin/python3 "$work/end.py" "$TINE" "$work"
result $? "ended by a signal, it takes all with it, and an old report stays"
plan
