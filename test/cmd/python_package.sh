#!/bin/sh
# SPDX-License-Identifier: MIT
# A sample of the tests of the package for Python, by the system's own Python where its
# headers are there; make test-python runs them all.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
python=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1

headers=$($python -c 'import sys, sysconfig
print(sysconfig.get_path("include") if sys.version_info >= (3, 11) else "")' 2>/dev/null)
if ! [ -f "$headers/Python.h" ] || ! [ -f "$BUILD/src/libtine.a" ]; then
    skip "the package for Python" "no headers of Python 3.11, or no static library"
    plan
    exit 0
fi

mkdir "$work/site"
cp -r "$root/python/tine" "$work/site/tine"
(
    cd "$work" || exit 1
    for file in "$root"/python/src/*.c; do
        ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -DPy_LIMITED_API=0x030b0000 -O1 -fPIC -fvisibility=hidden \
            -I"$headers" -I"$root/include" -c "$file" &
    done
    wait
    ${CC:-cc} -shared -Wl,--exclude-libs,ALL -o site/tine/_core.abi3.so ./*.o \
        "$BUILD/src/libtine.a" -pthread -ldl
) >"$work/log" 2>&1
code=$?
[ $code -eq 0 ] || sed 's/^/# /' "$work/log"
result $code "the extension is built"

# sample NAME TEST...
sample() {
    name=$1
    shift
    (cd "$root/python/tests" && PYTHONPATH=$work/site timeout -k 5 120 "$python" -m unittest \
        "$@") >"$work/log" 2>&1
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log"
    result $code "$name"
}

sample "queues" test_queues.Queues.test_values_by_each_method test_queues.Queues.test_maximum \
    test_queues.Queues.test_a_child_keeps_what_its_parent_drops test_signals.Signals.test_just_before_a_sleep
sample "locks" test_sync.Locks test_sync.Deaths.test_one_that_is_killed_for_certain
sample "programs" test_program.Program.test_each_method test_program.Program.test_patch_and_unpatch
plan
