#!/bin/sh
# SPDX-License-Identifier: MIT
# The Debian packages: their bytes depend on no folder and no setting, lintian has nothing
# to say, and the first screen of the README works where they are installed: in a new Debian
# system; in a folder without TEST_SOAK or TEST_PACKAGES, which is this test alone in full.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/../cmd/lib.sh"
cd "$(dirname "$0")/../.." || exit 1
full=${TEST_SOAK-}${TEST_PACKAGES-}

for program in dh dpkg-buildpackage lintian; do
    command -v $program >/dev/null && continue
    skip "Debian packages" "no $program"
    plan
    exit
done

tools/deb "$work/first" >"$work/log" 2>&1
code=$?
[ $code -eq 0 ] || sed 's/^/# /' "$work/log"
result $code "packages are built"
[ $code -eq 0 ] || { plan && exit 1; }

# Packages that ours depend on, or recommend.
needed() {
    for package in "$work"/first/*.deb; do
        dpkg-deb -f "$package" Depends Recommends
    done | sed 's/^[A-Z][A-Za-z]*: //' | tr ',' '\n' | sed 's/[ (|:].*//; s/^ *//' |
        grep -v tine | sort -u | paste -sd ,
}

# A new system, where one can be made, while they are built again.
root=$work/root
if [ "$full" ] && [ "$(id -u)" -eq 0 ] && command -v mmdebstrap >/dev/null &&
    unshare --mount --pid --fork true 2>/dev/null; then
    timeout 600 mmdebstrap --variant=apt --mode=root \
        --include="gcc,libc6-dev,pkg-config,$(needed)" bookworm "$root" >"$work/root.log" 2>&1 &
    making=$!
fi
# Which takes as long again.
if [ "$full" ]; then
    mkdir -p "$work/another/folder" "$work/home"
    (umask 077 && HOME=$work/home TZ=Asia/Kathmandu LC_ALL=C LANGUAGE=de \
        tools/deb "$work/another/folder/second") >"$work/log" 2>&1
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log"
    for package in libtine0 libtine-dev tine python3-tine; do
        cmp "$work/first/$package"_*.deb "$work/another/folder/second/$package"_*.deb || code=1
    done
    result $code "in another folder, umask, time zone and locale they have the same bytes"
else
    skip "in another folder, umask, time zone and locale they have the same bytes" \
        "no TEST_SOAK or TEST_PACKAGES"
fi

lintian --allow-root --display-info --pedantic --fail-on error,warning,info,pedantic \
    "$work"/first/*.changes >"$work/log" 2>&1
code=$?
sed 's/^/# /' "$work/log"
result $code "lintian finds nothing"

mkdir "$work/files"
for package in "$work"/first/*.deb; do
    case $package in *dbgsym*) ;; *) dpkg-deb -x "$package" "$work/files" ;; esac
done
! grep -rlaF -e "$work" -e "$PWD" "$work/files" | grep .
result $? "no path of the build is in them"
! find "$work/files" -type f -exec readelf -SW {} + 2>/dev/null | grep '\.debug_info'
result $? "what is installed is stripped"

# The first screen: its commands, with stand-ins for the programs that they call, and then
# its program in C.
mkdir "$work/screen"
awk '/^    / && /tine map/ { sub(/   # .*/, ""); print }' README.md | head -n 4 >"$work/screen/commands"
sed -n '/^```c$/,/^```$/p' README.md | grep -v '^```' >"$work/screen/program.c"
cat >"$work/screen/go" <<'END'
set -eu
cd "$(dirname "$0")"
mkdir bin logs
printf '#!/bin/sh\ncp "$1" "$2"\n' >bin/convert
printf '#!/bin/sh\necho "{\\"loss\\": $2}" >loss; echo "$2"\n' >sim
printf '#!/bin/sh\n[ $(($1 %% 7)) -eq 0 ]\n' >search
chmod +x bin/convert sim search
export PATH="$PWD/bin:$PATH"
for name in one two; do
    echo $name >$name.png
    printf 'a\nb\n' | gzip >logs/$name.gz
done
printf 'lr\n0.1\n0.2\n' >grid.csv
[ "$(wc -l <commands)" -eq 4 ]
while IFS= read -r line; do
    sh -c "$line" </dev/null >out 2>err || [ $? -eq 1 ] || { echo "$line"; cat out err; exit 1; }
done <commands
cmp one.png one.webp
cmp two.png two.webp
cc program.c $(pkg-config --cflags --libs tine) -o program
[ "$(./program)" = "1 4 9 16" ]
tine doctor >/dev/null || [ $? -eq 1 ]
cat >script.py <<'PYTHON'
from multiprocessing import Pool
def square(x):
    return x * x
if __name__ == "__main__":
    with Pool(2) as pool:
        print(pool.__module__.split(".")[0], pool.map(square, range(4)))
PYTHON
[ "$(/usr/bin/python3 -m tine script.py)" = "tine [0, 1, 4, 9]" ]
END

if [ -n "${making-}" ] && wait "$making"; then
    cp "$work"/first/libtine0_*.deb "$work"/first/libtine-dev_*.deb "$work"/first/tine_*.deb \
        "$work"/first/python3-tine_*.deb "$root/tmp"
    cp -r "$work/screen" "$root/tmp/screen"
    # Its own mounts end with it. There is no network inside, and none is needed.
    unshare --mount --pid --net --fork sh -c 'mount -t proc proc "$0/proc" &&
        mount --rbind /dev "$0/dev" && chroot "$0" sh -c "cd /tmp && dpkg -i *.deb &&
            sh /tmp/screen/go"' "$root" >"$work/log" 2>&1
    where="a new Debian system"
else
    # A folder is less, which has to be said.
    if [ "$full" ]; then
        tail -n 5 "$work/root.log" 2>/dev/null | sed 's/^/# /'
        skip "a new Debian system is made" "it needs root, namespaces, mmdebstrap and a mirror"
        rm -rf "$root"
    fi
    # Without dependencies: those of this machine are used.
    mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
    : >"$root/var/lib/dpkg/status"
    dpkg --root="$root" --force-all --force-not-root --no-triggers -i \
        "$work"/first/libtine0_*.deb "$work"/first/libtine-dev_*.deb "$work"/first/tine_*.deb \
        "$work"/first/python3-tine_*.deb >"$work/log" 2>&1 &&
        libraries=$(dirname "$(find "$root" -name libtine.so)") &&
        PATH="$root/usr/bin:$PATH" LD_LIBRARY_PATH=$libraries \
            PYTHONPATH=$root/usr/lib/python3/dist-packages \
            PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$libraries/pkgconfig \
            sh "$work/screen/go" >>"$work/log" 2>&1
    where="a folder"
fi
code=$?
[ $code -eq 0 ] || tail -n 40 "$work/log" | sed 's/^/# /'
result $code "installed in $where, the first screen of the README works"
plan
