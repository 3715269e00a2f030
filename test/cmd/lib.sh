# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# TAP for the tests of commands. TINE is the command; $work an empty folder.
set -u
tests=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# result CODE NAME: a test passed if the code is 0.
result() {
    tests=$((tests + 1))
    if [ "$1" -eq 0 ]; then echo "ok $tests - $2"; else echo "not ok $tests - $2"; fi
}

skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

plan() {
    echo "1..$tests"
}

# runs CODE ARGUMENT...: runs the command and keeps what it prints; whether it exits so.
runs() {
    expected=$1
    shift
    "$TINE" "$@" >"$work/out" 2>"$work/err"
    code=$?
    [ "$code" -eq "$expected" ] && return 0
    echo "# tine $*: exit code $code, not $expected"
    sed 's/^/# /' "$work/out" "$work/err"
    return 1
}

# complains WHAT ARGUMENT...: exits with 2 and one line on stderr that names it.
complains() {
    what=$1
    shift
    runs 2 "$@" || return 1
    [ ! -s "$work/out" ] || { echo "# tine $*: a usage error on stdout" && return 1; }
    [ "$(wc -l <"$work/err")" -eq 1 ] || { echo "# tine $*: not one line" && return 1; }
    grep -qF -- "$what" "$work/err" && return 0
    echo "# tine $*: '$what' is not in: $(cat "$work/err")"
    return 1
}
