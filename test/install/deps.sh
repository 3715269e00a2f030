#!/bin/sh
# SPDX-License-Identifier: MIT
# What tools/deps says and does on machines of all kinds, with programs that only look so.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/../cmd/lib.sh"
deps=$(cd "$(dirname "$0")/../.." && pwd)/tools/deps

# machine NAME PROGRAM...: a folder with what any machine has, and these.
machine() {
    bin=$work/$1
    shift
    mkdir "$bin"
    for program in sh cat dirname mktemp; do
        ln -s "$(command -v $program)" "$bin/$program"
    done
    for program; do
        printf '#!/bin/sh\necho %s "$@" >>"%s/calls"\n' "$program" "$work" >"$bin/$program"
        chmod +x "$bin/$program"
    done
    : >"$work/calls"
}

# on_it [NAME=VALUE...]: builds there.
on_it() {
    env "PATH=$bin" "$@" /bin/sh "$deps" build >"$work/out" 2>&1
}

# dpkg-query says of no package that it is installed.
machine debian apt-get dpkg-query sudo
printf '#!/bin/sh\necho 1000\n' >"$bin/id"
printf '#!/bin/sh\nexec "$@"\n' >"$bin/sudo"
chmod +x "$bin/id" "$bin/sudo"
on_it NO_INSTALL=1 && ! grep -q '^apt-get' "$work/calls" &&
    grep -q '^ *liblmdb-dev  *stores in a folder$' "$work/out" && grep -q 'not installed' "$work/out"
result $? "NO_INSTALL: it says what is missing and what for, and installs nothing"
on_it NO_INSTALL= && grep -q '^apt-get .*install .*liblmdb-dev' "$work/calls" &&
    grep -q '^ *liblmdb-dev  *stores in a folder$' "$work/out"
result $? "it says what it installs and what for"

machine full apt-get
printf '#!/bin/sh\nprintf installed\n' >"$bin/dpkg-query"
chmod +x "$bin/dpkg-query"
on_it NO_INSTALL= && [ ! -s "$work/out" ] && [ ! -s "$work/calls" ]
result $? "where all is there, it says and does nothing"

machine bare
on_it NO_INSTALL= && code=0 || code=$?
[ $code -eq 1 ] && grep -q 'missing: cc meson ninja pkg-config libxxhash jansson\.' "$work/out" &&
    grep -q 'meson setup build -Dtests=false && ninja -C build' "$work/out"
result $? "without apt-get, it names what is missing and how to go on"
machine other cc meson ninja pkg-config
on_it NO_INSTALL= && [ ! -s "$work/out" ]
result $? "without apt-get, where all is there, it goes on"
plan
