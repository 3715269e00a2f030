#!/bin/sh
# SPDX-License-Identifier: MIT
# Mistakes planted in a copy of the tree are found by the tests that are there to find them.
# PLANTED: the names of those to try, or how many, drawn at random; else all.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

# A build of its own that stays, so that a mistake costs one file. No sample is taken of
# what make test takes a sample of, and nothing else either.
tree=$BUILD/planted
unset TEST_SOAK TEST_SEED
export PATH="/usr/bin:$PATH"

# Only what is not the same there, so that the rest is not built again.
copy() {
    git ls-files -co --exclude-standard | while read -r file; do
        cmp -s "$file" "$tree/$file" || {
            [ ! -f "$file" ] || { mkdir -p "$tree/$(dirname "$file")" && cp "$file" "$tree/$file"; }
        } || return
    done
    # A mistake that has gone out of date would be another one, or none.
    [ -f "$tree/build/build.ninja" ] ||
        meson setup "$tree/build" "$tree" -Dc_args=-Werror=incompatible-pointer-types
}

# shellcheck disable=SC2086
chosen() {
    case ${PLANTED-} in
    '') ls test/planted ;;
    [0-9]*) find test/planted -name '*.patch' | sed 's|.*/||' | shuf -n "$PLANTED" ;;
    *) printf '%s.patch\n' $PLANTED ;;
    esac | sed -n 's/\.patch$//p'
}

# seen TEST...: whether these fail in the build as it is.
seen() {
    TEST_LIMIT=60 "$tree/build/$program" "$@" >"$work/out" 2>&1
    grep -q '^not ok ' "$work/out"
}

build_it() {
    ninja -C "$tree/build" "$program" >"$work/out" 2>&1 || { cat "$work/out" && return 1; }
}

# found NAME: the tests that its patch names pass without it, and fail in a build with it,
# within five runs. Where they hang, they pass once more without it.
found() {
    patch=$PWD/test/planted/$1.patch
    # shellcheck disable=SC2046
    set -- $(sed -n 's/^Test: //p' "$patch")
    program=test/test-$1
    shift
    build_it || return
    if seen "$@"; then
        echo "without the mistake:" && cat "$work/out"
        return 1
    fi
    git apply --unsafe-paths --directory="$tree" "$patch" || return
    is_found=1
    for _ in 1 2 3 4 5; do
        build_it || break
        seen "$@" && is_found=0 && break
    done
    cp "$work/out" "$work/with"
    git apply --unsafe-paths --directory="$tree" -R "$patch" || return
    if [ $is_found -eq 0 ] && grep -q ': it hung$' "$work/with"; then
        build_it || return
        ! seen "$@" || is_found=1
    fi
    [ $is_found -eq 0 ] || tail -n 20 "$work/with"
    return $is_found
}

if copy >"$work/log" 2>&1; then
    for name in $(chosen); do
        (found "$name") >"$work/log" 2>&1
        code=$?
        [ $code -eq 0 ] || sed 's/^/# /' "$work/log"
        result $code "$name: $(head -n 1 "test/planted/$name.patch")"
    done
else
    sed 's/^/# /' "$work/log"
    result 1 "a copy of the tree"
fi
plan
