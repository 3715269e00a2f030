#!/bin/sh
# SPDX-License-Identifier: MIT
# Mistakes planted in the queue are found by the tests that are there to find them.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

# found N TEST MISTAKE: the test fails in a build with that mistake.
found() {
    "$BUILD/test/planted-queue-$1" "$2" >"$work/out" 2>&1
    grep -q "^not ok 1 - $2\$" "$work/out"
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/out"
    result $code "$3"
}

found 1 killed_at_every_step_of_put "a claim that is written too late"
found 2 killed_at_every_step_of_get "a cell that is freed before its message is copied"
found 3 killed_at_every_step_of_lease "a cell that is freed before its message is in the box"
found 4 killed_at_every_step_of_a_put_that_wakes "a sleeper that does not look again"
plan
