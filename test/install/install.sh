#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs built against the installed library, as its users build theirs.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/../cmd/lib.sh"

prefix=$work/usr
if ! make -s install PREFIX="$prefix" >"$work/log" 2>&1; then
    sed 's/^/# /' "$work/log"
    result 1 "make install"
    plan
    exit 1
fi
result 0 "make install"
# What it says after it lets a shell find all of it.
(
    unset LD_LIBRARY_PATH PKG_CONFIG_PATH
    sed -n 's/^    //p' "$work/log" >"$work/exports"
    [ "$(grep -c '^export' "$work/exports")" -eq 3 ] || exit 1
    # shellcheck source=/dev/null
    . "$work/exports"
    sed -n '/^```c$/,/^```$/p' README.md | grep -v '^```' >"$work/readme.c"
    # shellcheck disable=SC2046
    cc "$work/readme.c" -o "$work/readme" $(pkg-config --cflags --libs tine) &&
        [ "$("$work/readme")" = "1 4 9 16" ] && [ "$(command -v tine)" = "$prefix/bin/tine" ]
)
result $? "it says how programs and shells find it"
! ninja -C build-install -t targets all | grep -qE '^(test|bench|examples)/'
result $? "nothing is built that is not installed"

library=$(find "$prefix" -name libtine.so)
libraries=$(dirname "$library")
export PKG_CONFIG_PATH="$libraries/pkgconfig"
export LD_LIBRARY_PATH="$libraries"

missing=0
for file in include/tine.h bin/tine share/man/man1/tine.1 share/man/man1/tine-pi.1 \
    share/man/man3/tine_pool.3 share/man/man7/tine.7 \
    share/bash-completion/completions/tine.bash; do
    [ -s "$prefix/$file" ] || { echo "# no $file" && missing=1; }
done
[ -s "$libraries/libtine.a" ] || missing=1
[ -s "$libraries/pkgconfig/tine.pc" ] || missing=1
[ -s "$prefix/share/gdb/auto-load$library.$("$prefix/bin/tine" --version | cut -d" " -f2)-gdb.py" ] ||
    missing=1
result $missing "everything is there"

readelf -d "$library" | grep -q 'SONAME.*\[libtine\.so\.0\]' && [ -e "$libraries/libtine.so.0" ]
result $? "the soname is libtine.so.0"

# loads FILE: what it needs at its start, the C library's own left out.
loads() {
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\.so.*\]/\1/p' |
        grep -v '^libc$\|^ld-linux\|^libpthread$\|^libdl$\|^libm$'
}
code=0
[ "$(loads "$library")" = "" ] && [ "$(loads "$prefix/bin/tine")" = libjansson ] || code=1
[ $code -eq 0 ] || echo "# it also loads: $(loads "$library") $(loads "$prefix/bin/tine")"
result $code "what only stores need is not loaded by each program"

cat >"$work/five.c" <<'END'
#include <tine.h>
static int twice(const void *in, void *out) { *(int *)out = 2 * *(const int *)in; return 0; }
static const tine_task task = TINE_TASK(twice, int, int);
int main(void) { int in[] = { 1, 2 }, out[2]; tine_pool *pool; if (tine_pool_new(&pool, 0)) return 1;
int err = tine_pool_map(pool, &task, in, out, 2, 0, TINE_FOREVER); tine_pool_free(pool); return err || out[1] != 4 || tine_cancelled(); }
END
cp "$work/five.c" "$work/five.cc"

# build COMPILER STANDARD FILE NAME FLAG...: builds and runs it.
build() {
    compiler=$1 standard=$2 file=$3 name=$4
    shift 4
    if ! command -v "$compiler" >/dev/null; then
        skip "$name" "no $compiler"
        return
    fi
    # shellcheck disable=SC2046
    "$compiler" -std="$standard" -Wall -Wextra -Wpedantic -Werror "$work/$file" -o "$work/five" \
        $(pkg-config --cflags tine) "$@" >"$work/log" 2>&1 && "$work/five"
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log"
    result $code "$name"
}

for compiler in gcc clang; do
    for standard in c99 c11; do
        build $compiler $standard five.c "$compiler $standard, shared" "-L$libraries" -ltine
    done
    # shellcheck disable=SC2046
    build $compiler c11 five.c "$compiler c11, static" "$libraries/libtine.a" -pthread
done
for compiler in g++ clang++; do
    # shellcheck disable=SC2046
    build $compiler c++17 five.cc "$compiler c++17, shared" $(pkg-config --libs tine)
done

# Two programs of one source file, each with a function of that name, share the default cache.
cat >"$work/work.c" <<'END'
#include <tine.h>
static int work(const void *in, void *out) { *(long *)out = *(const long *)in * TIMES; return 0; }
static const tine_task task = TINE_TASK(work, long, long);
int main(void) { tine_cache *cache; long in = 7, out = 0;
if (tine_cache_open(&cache, 0, 0) < 0) return 2;
int computed = tine_cache_call(cache, &task, &in, &out, 0, TINE_FOREVER);
tine_cache_free(cache); return computed != KEPT || out != 7 * TIMES; }
END
build_work() {
    # shellcheck disable=SC2046
    gcc -DTIMES="$1" -DKEPT="$2" "$work/work.c" -o "$work/times$1" \
        $(pkg-config --cflags --libs tine) && TINE_CACHE="$work/results" "$work/times$1"
}
build_work 10 0 && build_work 1000 0 && build_work 10 1 && build_work 1000 1
result $? "each of two programs is served its own results"

# Only what tine.h declares is seen of the static library, and what it calls itself is not
# taken from the program: one that has a function of each of its names.
nm -g --defined-only "$libraries/libtine.a" 2>/dev/null | awk 'NF == 3 {print $3}' |
    grep -v '^tine_\|^TINE_\|^__' >"$work/log"
[ ! -s "$work/log" ] || sed 's/^/# /' "$work/log"
[ ! -s "$work/log" ]
result $? "the static library's names are tine_"
{
    nm -g --defined-only "$BUILD/src/libtine-rooms.a" 2>/dev/null | awk 'NF == 3 {print $3}' |
        grep -v '^tine_\|^TINE_\|^__' | sort -u | sed 's/.*/int &(void) { __builtin_trap(); }/'
    cat "$work/five.c"
} >"$work/all_names.c"
# shellcheck disable=SC2046
[ "$(grep -c __builtin_trap "$work/all_names.c")" -gt 100 ] &&
    gcc -w -fno-builtin "$work/all_names.c" -o "$work/all_names" $(pkg-config --cflags tine) \
        -pthread "$libraries/libtine.a" $(pkg-config --static --libs-only-l tine |
            sed 's/-ltine\b//') >"$work/log" 2>&1 && "$work/all_names"
code=$?
[ $code -eq 0 ] || tail -n 20 "$work/log" | sed 's/^/# /'
result $code "a program may have functions of any name"

# Where no library has a .pc file but this one.
flags=$(PKG_CONFIG_LIBDIR="$libraries/pkgconfig" PKG_CONFIG_PATH='' \
    pkg-config --cflags --libs tine 2>"$work/log") &&
    case $flags in *hiredis* | *FILE_OFFSET* | *lmdb*) false ;; *-ltine*) true ;; *) false ;; esac
code=$?
[ $code -eq 0 ] || { echo "# $flags" && sed 's/^/# /' "$work/log"; }
result $code "pkg-config needs no package but tine, and says nothing of others"

runs 0 --version
"$prefix/bin/tine" pi -n 1e5 >"$work/out" 2>&1
result $? "the installed command"

make -s uninstall PREFIX="$prefix" >"$work/log" 2>&1
code=$?
find "$prefix" ! -type d >>"$work/log"
[ $code -eq 0 ] && [ -z "$(find "$prefix" ! -type d)" ]
code=$?
[ $code -eq 0 ] || sed 's/^/# /' "$work/log"
result $code "make uninstall leaves no file"

make -s install PREFIX=/opt/tine DESTDIR="$work/stage" >"$work/log" 2>&1 &&
    [ -x "$work/stage/opt/tine/bin/tine" ] && [ ! -e /opt/tine/bin/tine ]
result $? "DESTDIR"
! grep -q export "$work/log"
result $? "with DESTDIR it says nothing of this machine"

multiarch=$(cc -print-multiarch)
[ -z "$multiarch" ] || make -n install | grep -qF -- "-Dlibdir=lib/$multiarch"
result $? "where libraries go does not depend on dpkg-dev"

# Where the loader looks anyway, it is told of the new file.
if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    mkdir "$work/etc"
    # shellcheck disable=SC2016
    unshare --mount sh -c 'cp -a /etc/. "$1" && mount --bind "$1" /etc &&
        mount -t tmpfs tmpfs /usr/local && make -s install || exit 1
        unset LD_LIBRARY_PATH PKG_CONFIG_PATH
        cc "$2.c" -o "$2" $(PATH=/usr/bin:/bin pkg-config --cflags --libs tine) && "$2"' \
        sh "$work/etc" "$work/readme" >"$work/log" 2>&1 && grep -q '^1 4 9 16$' "$work/log"
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log"
    result $code "a program runs after make install alone"
else
    skip "a program runs after make install alone" "it needs root and a mount of its own"
fi
plan
