#!/bin/sh
# SPDX-License-Identifier: MIT
# What tine doctor finds here, and in places that were made to go wrong.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

export TINE_CACHE="$work/cache"
unset TINE_WORKERS TINE_ISA TINE_TRACE

# found PROGRAM: the object in $work/out is right; the check of a name is is(name).
found() {
    /usr/bin/python3 -c '
import json, sys
made = json.load(open(sys.argv[1]))
checks = {each["name"]: each for each in made["checks"]}
assert len(checks) == len(made["checks"])
for each in made["checks"]:
    assert set(each) == {"section", "name", "state", "value", "mend"}, each
    assert each["state"] in ("ok", "note", "bad") and each["value"], each
    assert each["state"] != "bad" or each["mend"], each
bad = sorted(name for name, each in checks.items() if each["state"] == "bad")
assert made["bad"] == len(bad), made
def value(name):
    return checks[name]["value"]
'"$1" "$work/out" && return 0
    sed 's/^/# /' "$work/out"
    return 1
}

# goes_wrong NAME WORD: the text says that this is bad, and how to mend it.
goes_wrong() {
    runs 1 doctor && grep -A1 "^  BAD   $1 .*$2" "$work/out" | grep -q 'to fix it: ' &&
        grep -q '^1 thing here would go wrong\.$' "$work/out" && return 0
    sed 's/^/# /' "$work/out"
    return 1
}

runs 0 doctor && [ ! -s "$work/err" ] && grep -qx 'Nothing here would go wrong\.' "$work/out"
result $? "a machine on which tests run is well"
# Wherever the tests are run.
! sed "s|$work|/tmp|g" "$work/out" | grep -nE '^.{91,}|	| $'
result $? "lines are short"
# A section, and the columns below it.
! grep -vE '^$|^[a-z][a-z ]*$|^  (ok  |note|BAD |    )  .{16} [^ ]|^Nothing' "$work/out"
result $? "columns"
[ ! -e "$work/cache" ]
result $? "it makes no cache"

runs 0 doctor --json && found '
import os
assert made["workers"] == int(value("workers").split()[0])
assert value("affinity").startswith(f"{len(os.sched_getaffinity(0))} of {os.sysconf('"'SC_NPROCESSORS_ONLN'"')}")
assert value("version") == " ".join((os.uname().sysname, os.uname().release))
assert made["version"] == "'"$("$TINE" --version | cut -d' ' -f2)"'"
assert not bad
'
result $? "--json"
if command -v taskset >/dev/null; then
    taskset -c "$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')" "$TINE" doctor --json >"$work/out" &&
        found 'assert made["workers"] == 1 and value("affinity").startswith("1 of ")'
    result $? "an affinity"
else
    skip "an affinity" "no taskset(1)"
fi

bad=0
for garbage in x 00 -1 1.5 '2 ' 2x; do
    TINE_WORKERS=$garbage goes_wrong TINE_WORKERS "'$garbage' is not a number" || bad=1
done
TINE_WORKERS=0 runs 0 doctor && grep -q 'TINE_WORKERS *0: jobs run in the process' "$work/out" || bad=1
TINE_WORKERS=1025 goes_wrong TINE_WORKERS 'more than a pool may have' || bad=1
TINE_WORKERS=3 runs 0 doctor --json && found 'assert made["workers"] == 3
assert "TINE_WORKERS" in value("workers")' || bad=1
TINE_WORKERS=x runs 1 doctor --json && found 'assert bad == ["TINE_WORKERS"]' || bad=1
TINE_WORKERS=$(printf '"\\\001\303') runs 1 doctor --json && found 'assert bad == ["TINE_WORKERS"]' || bad=1
result $bad "TINE_WORKERS"
bad=0
TINE_ISA=sse goes_wrong TINE_ISA "'sse'" || bad=1
TINE_ISA=generic runs 0 doctor --json && found 'assert value("instructions") == "generic"' || bad=1
result $bad "TINE_ISA"
bad=0
TINE_TRACE=/nowhere/x goes_wrong TINE_TRACE "'/nowhere/x'" || bad=1
TINE_TRACE=/dev/null goes_wrong TINE_TRACE 'not a regular file' || bad=1
TINE_TRACE=$work/t.json runs 0 doctor || bad=1
result $bad "TINE_TRACE"

if command -v prlimit >/dev/null && [ -z "${ASAN_OPTIONS-}" ]; then
    prlimit --as=200000000 "$TINE" doctor >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && grep -A1 '^  BAD   shared memory  *at most [0-9.]* MiB' "$work/out" |
        grep -q 'to fix it: *raise the limit (ulimit -v unlimited)'
    result $? "little address space"
    prlimit --as=12000000 "$TINE" doctor >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && grep -q '^  BAD   shared memory  *at most [0-9.]* MiB' "$work/out" &&
        grep -q '^  ok    a pool of two  *works' "$work/out"
    result $? "hardly any address space"
    prlimit --fsize=4194304 "$TINE" doctor >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && grep -A1 '^  BAD   shared memory  *at most 4 MiB' "$work/out" |
        grep -q 'to fix it: *raise the limit (ulimit -f unlimited)'
    result $? "small files"
    prlimit --fsize=65536 "$TINE" doctor >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && grep -q '^  BAD   shared memory  *there is none' "$work/out"
    result $? "no files to speak of"
    prlimit --nofile=40 "$TINE" doctor --json >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && found 'assert bad == ["descriptors"], bad'
    result $? "few descriptors"
    prlimit --fsize=100000000 "$TINE" doctor --json >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && found 'assert bad == ["shared memory"], bad'
    result $? "a limit of file size"
else
    skip "limits" "no prlimit(1)"
fi

bad=0
mkdir "$work/full" && echo precious >"$work/full/file"
TINE_CACHE=$work/full goes_wrong cache "is not empty" || bad=1
[ "$(cat "$work/full/file")" = precious ] || bad=1
ln -s "$work/cache" "$work/link"
TINE_CACHE=$work/link goes_wrong cache "symbolic link" || bad=1
TINE_CACHE=/proc/nowhere goes_wrong cache "cannot be created" || bad=1
TINE_CACHE=$work/full/file/below goes_wrong cache "Not a directory" || bad=1
(unset TINE_CACHE XDG_CACHE_HOME HOME; goes_wrong cache "HOME is not set") || bad=1
if [ "$(id -u)" -eq 0 ]; then
    mkdir "$work/other" && chown 12345 "$work/other"
    TINE_CACHE=$work/other goes_wrong cache "belongs to another user" || bad=1
fi
result $bad "a cache folder that is not ours, or none"
runs 0 pi -n 1e6 --cache "$work/cache" && runs 0 doctor &&
    grep -q "'$work/cache', with 16 results in " "$work/out"
result $? "a cache"

bad=0
(
    mkdir "$work/bin"
    export PATH="$work/bin"
    runs 0 doctor --json
) && found 'assert checks["redis-server"]["state"] == "note"' || bad=1
printf '#!/bin/sh\necho "Redis server v=9.8.7 sha=0"\n' >"$work/bin/redis-server"
chmod 755 "$work/bin/redis-server"
(PATH=$work/bin:$PATH runs 0 doctor --json) && found 'assert value("redis-server") == "9.8.7"' || bad=1
printf '#!/bin/sh\nexec sleep 60\n' >"$work/bin/redis-server"
(PATH=$work/bin:$PATH runs 0 doctor --json) && found 'assert value("redis-server") == "not found"' || bad=1
result $bad "a Redis server, none, and one that says nothing"

complains "'what'" doctor what
result $? "it takes no operands"
plan
