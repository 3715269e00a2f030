#!/bin/sh
# SPDX-License-Identifier: MIT
# Habits that hold for every command.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

commands=$("$TINE" help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -v '^help$')

runs 0 --version && grep -qx 'tine [0-9.]*' "$work/out"
result $? "--version"
runs 0 help && runs 0 --help && runs 0 -h && [ ! -s "$work/err" ]
result $? "help on stdout"
runs 2 && [ ! -s "$work/out" ] && [ -s "$work/err" ]
result $? "without a command, help on stderr"

bad=0
complains "'bogus'" bogus || bad=1
complains "'--bogus'" --bogus || bad=1
complains "'bogus'" help bogus || bad=1
complains "'pi'" help pi pi || bad=1
complains "''" '' || bad=1
result $bad "unknown words are named"

bad=0
for command in $commands; do
    runs 0 "$command" --version && grep -qx 'tine [0-9.]*' "$work/out" || bad=1
done
result $bad "each command says its version"

bad=0
complains "did you mean 'primes'?" prmes || bad=1
complains "did you mean 'tour'?" help tuor || bad=1
complains "did you mean '--trials'?" pi --trails 5 || bad=1
complains "did you mean '--compare'?" pi --comapre || bad=1
complains "try 'tine help pi'" pi --xyzzy || bad=1
complains "'tine help' lists them" xyzzy || bad=1
result $bad "what was meant is guessed, where it can be"

bad=0
complains "'--tri'" pi --tri 1e5 || bad=1
complains "'--tri=1e5'" pi --tri=1e5 || bad=1
complains "'--work'" pi -n 1e5 --work 1 || bad=1
complains "'--h'" pi --h || bad=1
runs 0 pi --trials=1e5 && runs 0 pi --trials 1e5 || bad=1
result $bad "a beginning of an option is none"

bad=0
runs 0 --help && grep -q '^example: tine ' "$work/out" || bad=1
result $bad "the help has an example"

(
    bad=0
    for value in junk 00 -3 '' '2 '; do
        export TINE_WORKERS="$value"
        runs 0 pi -n 1e5 && [ "$(wc -l <"$work/err")" -eq 1 ] &&
            grep -qF "TINE_WORKERS is '$value'" "$work/err" && [ -s "$work/out" ] || bad=1
        runs 0 pi -n 1e5 -j 1 && [ ! -s "$work/err" ] || bad=1
    done
    for value in 0 1 2; do
        export TINE_WORKERS=$value
        runs 0 pi -n 1e5 && [ ! -s "$work/err" ] || bad=1
    done
    exit $bad
)
result $? "TINE_WORKERS that is no number is told, and ignored"

runs 0 primes 0 100 --compare && grep -q '^queue .* times as slow as serial' "$work/out" &&
    ! grep -qE ' 0\.[0-9]+ times' "$work/out"
result $? "what is slower is not called a part of fast"

bad=0
for command in $commands; do
    runs 0 help "$command" && mv "$work/out" "$work/help" || bad=1
    runs 0 "$command" --help && cmp -s "$work/out" "$work/help" || bad=1
    runs 0 "$command" -h && cmp -s "$work/out" "$work/help" || bad=1
    complains "--no-such-option" "$command" --no-such-option || bad=1
    runs 0 help --manual "$command" && mv "$work/out" "$work/manual" || bad=1
    runs 0 help --completion && mv "$work/out" "$work/completion" || bad=1
    # What the help names, the manual and the completion have.
    for operand in $(sed -n 's/^  \([A-Z][A-Z]*\) .*/\1/p' "$work/help"); do
        grep -q "^\.It Ar $operand\$" "$work/manual" ||
            { echo "# manual: $operand" && bad=1; }
        sed -n '/^usage: /,/^$/p' "$work/help" | grep -q "[ []$operand\b" ||
            { echo "# usage: $operand" && bad=1; }
    done
    for option in $(sed -n 's/^  .* --\([a-z-]*\).*/\1/p' "$work/help"); do
        grep -q "Fl \\\\-$option" "$work/manual" || { echo "# manual: --$option" && bad=1; }
        grep -q -- "--$option " "$work/completion" ||
            [ "$option" = help ] || { echo "# completion: --$option" && bad=1; }
    done
done
result $bad "one table makes help, manual and completion"

bad=0
for command in $commands; do
    "$TINE" "$command" --help >/dev/full 2>"$work/err" && bad=1
    grep -q 'No space left' "$work/err" || bad=1
done
"$TINE" pi -n 10 >/dev/full 2>"$work/err"
[ $? -eq 3 ] && grep -q 'No space left' "$work/err" || bad=1
result $bad "a full disk is exit code 3 and a message"

{ "$TINE" pi -n 10 2>"$work/err"; echo $? >"$work/code"; } | true
[ ! -s "$work/err" ]
result $? "a closed pipe is quiet"

if command -v script >/dev/null; then
    script -qec "$TINE pi -n 3e8 -j 1 2>&1 >/dev/null" /dev/null >"$work/out" </dev/null
    grep -q '#' "$work/out" && grep -q '100 %' "$work/out"
    result $? "progress on a terminal"
    NO_COLOR=1 script -qec "$TINE pi -n 3e8 -j 1" /dev/null >"$work/out" </dev/null
    ! grep -q "$(printf '\033')" "$work/out"
    result $? "no colour"
    printf '7\n\004' | script -qec "$TINE isprime 2>$work/err" /dev/null >"$work/out"
    grep -q '^7: prime' "$work/out" && grep -q 'from standard input' "$work/err"
    result $? "on a terminal, isprime says what it waits for"
    echo 7 | "$TINE" isprime >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ]
    result $? "and says nothing in a pipe"
else
    skip "progress on a terminal" "no script(1)"
fi

(
    # shellcheck disable=SC1090
    command -v bash >/dev/null && "$TINE" help --completion >"$work/completion" &&
        bash -c '. "$1"; COMP_WORDS=(tine pi --tri); COMP_CWORD=2; _tine;
            [ "${COMPREPLY[*]}" = --trials ] || exit 1
            COMP_WORDS=(tine primes --via s); COMP_CWORD=3; _tine;
            [ "${COMPREPLY[*]}" = serial ] || exit 1
            COMP_WORDS=(tine isprime --flag e); COMP_CWORD=3; _tine;
            [ "${COMPREPLY[*]}" = event ] || exit 1
            COMP_WORDS=(tine tour k); COMP_CWORD=2; _tine;
            [ "${COMPREPLY[*]}" = kill ] || exit 1
            COMP_WORDS=(tine tour --html ""); COMP_CWORD=3; _tine;
            [ -z "${COMPREPLY[*]}" ] || exit 1
            COMP_WORDS=(tine p); COMP_CWORD=1; _tine; [[ " ${COMPREPLY[*]} " == *" pi "* ]]' \
            - "$work/completion"
)
result $? "completion completes"
plan
