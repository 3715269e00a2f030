#!/bin/sh
# SPDX-License-Identifier: MIT
# tools/release, in a clone.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/../.." || exit 1

if ! command -v git >/dev/null || ! command -v dpkg-parsechangelog >/dev/null ||
    ! git rev-parse -q --verify HEAD >/dev/null 2>&1; then
    skip "a release" "no git, no dpkg-dev, or no clone"
    plan
    exit
fi

# The tree as it is now.
clone=$work/clone
mkdir "$clone"
git ls-files -co --exclude-standard | while IFS= read -r file; do
    [ ! -e "$file" ] && [ ! -L "$file" ] || printf '%s\0' "$file"
done | xargs -0 cp -P --parents -t "$clone"
cd "$clone" || exit 1
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q && git add -A && git commit -q -m "All there is"
sed -i '0,/^## .*/s//## 7.0.0, not released/' CHANGELOG.md && git commit -qam "Begin 7.0.0"

# refuses WHAT ARGUMENT...: says so, and changes nothing.
refuses() {
    what=$1
    shift
    before=$(git rev-parse HEAD)
    ! tools/release "$@" >"$work/out" 2>&1 && grep -qF -- "$what" "$work/out" &&
        [ "$(git rev-parse HEAD)" = "$before" ] && git diff --quiet && return
    sed 's/^/# /' "$work/out"
    return 1
}

bad=0
refuses usage || bad=1
refuses usage 7.0 || bad=1
refuses usage 7.0.x || bad=1
refuses usage 7.100.0 || bad=1
refuses usage 7.0.0 today || bad=1
refuses "no section '## 7.0.1, not released'" 7.0.1 || bad=1
result $bad "bad versions are refused"
echo >>README.md
! tools/release 7.0.0 >"$work/out" 2>&1 && grep -q 'not committed' "$work/out"
result $? "changes that are not committed are refused"
git checkout -q README.md

# One that was never released gives way to the first of these.
entries() {
    grep -c '^tine (' debian/changelog
}
released=$(entries)
[ "$(dpkg-parsechangelog -S Distribution)" != UNRELEASED ] || released=$((released - 1))
tools/release 7.0.0 2026-02-03 >"$work/out" 2>&1
code=$?
[ $code -eq 0 ] || sed 's/^/# /' "$work/out"
result $code "a release"
grep -q '^#define TINE_VERSION[[:space:]]*"7\.0\.0"$' include/tine.h &&
    grep -q '^#define TINE_VERSION_NUMBER 70000 ' include/tine.h &&
    grep -qx '## 7.0.0, 2026-02-03' CHANGELOG.md &&
    [ "$(dpkg-parsechangelog -S Version)" = 7.0.0-1 ] &&
    [ "$(entries)" -eq $((released + 1)) ] &&
    ! grep -E "^ *version: '" meson.build python/meson.build &&
    [ "$(git describe)" = v7.0.0 ] && [ -z "$(git status --porcelain)" ]
result $? "the version is where it belongs, and tagged"
[ "$(git log -1 --format=%ct)" -ge "$(git log -1 --format=%ct HEAD~1)" ]
result $? "its commit is not older than what it releases"
(cd build-release && sha256sum -c --quiet SHA256SUMS) &&
    tar xzmf build-release/tine-7.0.0.tar.gz -C "$work" &&
    diff -r --no-dereference --exclude=.git --exclude=build-release . "$work/tine-7.0.0"
result $? "the tarball has the tree, and its sum is right"
cp build-release/tine-7.0.0.tar.gz "$work/first"
git tag -d v7.0.0 >/dev/null && git reset -q --hard HEAD~1
(umask 077 && TZ=Asia/Kathmandu LC_ALL=C tools/release 7.0.0 2026-02-03) >/dev/null 2>&1 &&
    cmp "$work/first" build-release/tine-7.0.0.tar.gz
result $? "made again, it has the same bytes"

# A patch may add functions, and take none away.
begin() {
    { sed '/^## /,$d' CHANGELOG.md && printf '## %s, not released\n\n- It changes.\n\n' "$1" &&
        sed -n '/^## /,$p' CHANGELOG.md; } >"$work/log-of-changes" &&
        cp "$work/log-of-changes" CHANGELOG.md && git commit -qam "Begin $1"
}
begin 7.0.1
if command -v abidiff >/dev/null; then
    sed -i "/<elf-symbol name='tine_after'/d" abi/libtine.abi && git commit -qam "Lose a function"
    refuses "binary interface of v7.0.0 has changed" 7.0.1
    result $? "a patch that takes a function away is refused"
    git revert --no-edit HEAD >/dev/null
else
    skip "a patch that takes a function away is refused" "no abidiff"
fi
if command -v abidiff >/dev/null; then
    tools/release 7.0.1 2026-02-04 >"$work/out" 2>&1 &&
        [ "$(entries)" -eq $((released + 2)) ] || {
        sed 's/^/# /' "$work/out"
        false
    }
    result $? "a patch that takes none away"
fi
refuses "v7.0.0 is there already" 7.0.0
result $? "no version is released twice"
plan
