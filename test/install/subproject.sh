#!/bin/sh
# SPDX-License-Identifier: MIT
# A program of another project, which has tine among its subprojects.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/../cmd/lib.sh"
export PATH="/usr/bin:$PATH"

if ! command -v meson >/dev/null; then
    skip "dependency('tine')" "no meson"
    plan
    exit 0
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$work/user/subprojects/tine"
for entry in meson.build meson_options.txt include src tools; do
    ln -s "$root/$entry" "$work/user/subprojects/tine/$entry"
done
cat >"$work/user/meson.build" <<'END'
project('user', 'c')
executable('user', 'user.c', dependencies: dependency('tine'))
END
cat >"$work/user/user.c" <<'END'
#include <tine.h>
static int twice(const void *in, void *out) { *(int *)out = 2 * *(const int *)in; return 0; }
static const tine_task task = TINE_TASK(twice, int, int);
int main(void) { int in[] = { 1, 2 }, out[2]; tine_pool *pool; if (tine_pool_new(&pool, 0)) return 1;
int err = tine_pool_map(pool, &task, in, out, 2, 0, TINE_FOREVER); tine_pool_free(pool); return err || out[1] != 4; }
END

# with KIND: the program, with the library of this kind.
with() {
    (cd "$work/user" && meson setup "$1" -Dtine:default_library="$1" >"$work/log" 2>&1 &&
        ninja -C "$1" >>"$work/log" 2>&1 && "$1/user" >>"$work/log" 2>&1)
    code=$?
    [ $code -eq 0 ] || tail -n 30 "$work/log" | sed 's/^/# /'
    result $code "dependency('tine') alone, $1"
}

with shared
with static
! grep -qi 'jansson\|primesieve' "$work/user/shared/meson-logs/meson-log.txt" &&
    ! find "$work/user/shared" -name tine -type f -perm -u+x | grep -q . &&
    ! find "$work/user/shared" -name 'test-*' | grep -q .
result $? "the library alone is built"
[ -x "$work/user/static/user" ] && ! ldd "$work/user/static/user" | grep -q libtine
result $? "a static one is in the program"
plan
