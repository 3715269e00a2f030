#!/bin/sh
# SPDX-License-Identifier: MIT
# What gdb prints of tine's objects, by tools/gdb.py, of a core file.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

tools=$(cd "$(dirname "$0")/../../tools" && pwd)
scene=$BUILD/test/inspect-scene
if ! command -v gdb >/dev/null; then
    skip "gdb prints words" "no gdb"
    plan
    exit
fi

mkfifo "$work/end"
# A family that is small enough for a core file.
prlimit --as=82000000 "$scene" "$work/kept" <"$work/end" >"$work/scene" &
exec 7>"$work/end"
for _ in $(seq 600); do
    grep -q '^ready' "$work/scene" && break
    sleep 0.1
done

# of NAME: its value.
of() {
    awk -v name="$1" '$1 == name { print $2 }' "$work/scene"
}

gdb=$(
    cat <<END
set dump-excluded-mappings on
set use-coredump-filter off
gcore $work/core
END
)
printf '%s\n' "$gdb" >"$work/dump"
timeout 120 gdb -nx -batch -p "$(of main)" -x "$work/dump" >"$work/log" 2>&1
[ -s "$work/core" ]
code=$?
[ $code -eq 0 ] || sed 's/^/# /' "$work/log"
result $code "a core file"

# prints WORD... -- COMMAND: what gdb prints has each of the words.
prints() {
    timeout 120 gdb -nx -batch -ex "source $tools/gdb.py" -ex "$1" "$scene" "$work/core" \
        >"$work/out" 2>"$work/err"
    shift
    for word in "$@"; do
        grep -qF -- "$word" "$work/out" && continue
        echo "# '$word' is not there"
        sed 's/^/# /' "$work/out" "$work/err"
        return 1
    done
}

prints "tine-queue $(of queue)" "capacity 8, head 1, tail 3, closed 0 of 1" \
    "position 1: FULL at 1, 8 bytes" "position 2: FULL" "leased 1, acked 0"
result $? "tine-queue"
prints "tine-pool (struct tine_pool *) $(of pool)" "2 workers" "in ticket 1" "idle, done 0"
result $? "tine-pool"
prints "tine-cache $(of cache)" ": whole" "entries 1"
result $? "tine-cache"
prints "tine-lock $(of lock)" "held by thread $(of holder), waited for"
result $? "tine-lock"

prints "tine-queue $(of lock)" && grep -q 'no queue is at' "$work/err"
result $? "what is no object is named"
exec 7>&-
wait
plan
