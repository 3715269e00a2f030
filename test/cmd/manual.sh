#!/bin/sh
# SPDX-License-Identifier: MIT
# The programs of the manual compile without a warning, and print what it says they do.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

unset TINE_WORKERS TINE_ISA TINE_TRACE
tree=$PWD
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
case $TINE in /*) ;; *) TINE=$PWD/$TINE ;; esac
export LD_LIBRARY_PATH="$BUILD/src"
PATH=$(dirname "$TINE"):$PATH

if ! /usr/bin/python3 test/cmd/manual.py "$work" doc/*.md doc/*/*.md >"$work/log" 2>&1; then
    sed 's/^/# /' "$work/log"
    result 1 "the programs are there"
    plan
    exit 1
fi
result 0 "the programs are there"
cd "$work" || exit 1

# has WORD: whether the machine, or this build, has that.
has() {
    case $1 in
    lmdb) grep -q -- -DHAVE_LMDB "$BUILD/compile_commands.json" ;;
    python3-*) /usr/bin/python3 -c "import ${1#python3-}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# Two at a time; a log stays of each, empty if all is well.
mkdir pkgconfig
cat >pkgconfig/tine.pc <<END
Name: tine
Description: of this build
Version: 0
Cflags: -I$tree/include
Libs: -L$BUILD/src -ltine
END
export PKG_CONFIG_PATH="$work/pkgconfig"
flags=$(pkg-config --cflags --libs tine)
export flags
# shellcheck disable=SC2016
printf '%s\n' *.c | xargs -P 2 -I {} sh -c '
    file={}
    cc=$(cat "${file}c" 2>/dev/null || echo cc)
    command -v "${cc%% *}" >/dev/null || { echo "no ${cc%% *}" >"$file.not"; exit 0; }
    $cc -O2 -Wall -Wextra -Werror "$file" -o "${file%.c}" $flags >"$file.log" 2>&1 ||
        echo "cc: $?" >>"$file.log"'
for file in *.c; do
    if [ -f "$file.not" ]; then
        skip "$file compiles" "$(cat "$file.not")"
        continue
    fi
    sed 's/^/# /' "$file.log"
    result "$(grep -c . "$file.log")" "$file compiles"
done

for run in [0-9][0-9][0-9].sh; do
    number=${run%.sh}
    name="$(cat "$number.page"): $(tr '\n' ';' <"$run" | sed "s/;\$//; s/[#\\\\]//g")"
    if [ -f "$number.not" ]; then
        skip "$name" "$(cat "$number.not")"
        continue
    fi
    missing=
    if [ -f "$number.needs" ]; then
        for word in $(cat "$number.needs"); do
            has "$word" || missing="$missing $word"
        done
    fi
    if [ -n "$missing" ]; then
        skip "$name" "no$missing"
        continue
    fi
    timeout 300 sh -u "$run" >"$number.out" 2>&1 </dev/null
    diff "$number.text" "$number.out" >"$number.diff"
    code=$?
    head -n 20 "$number.diff" | cat -v | sed "s/^/# /"
    result $code "$name"
done
plan
