#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

dir=$work/cache
fill() {
    rm -rf "$dir"
    "$TINE" pi -n 1e6 --json --cache "$dir" >/dev/null
}

# python PROGRAM: with what was printed, as an object.
python() {
    /usr/bin/python3 -c "import json, sys
made = json.load(open(sys.argv[1]))
$1" "$work/out"
}

fill
runs 0 cache stat "$dir" && grep -qx 'entries    16' "$work/out" &&
    grep -qx 'restarts   0' "$work/out" && [ ! -s "$work/err" ]
result $? "stat"
runs 0 cache stat "$dir" --json && python '
assert made["entries"] == 16 and made["evictions"] == made["restarts"] == 0, made
assert 0 < made["bytes"] <= made["max_bytes"] <= 5 << 30, made
assert made["hits"] == 0 and made["misses"] == 16, made
'
result $? "stat --json"

runs 0 cache list "$dir" && [ "$(grep -c '^20..-..-..T..:..:..Z  *8  tine-pi/0  [0-9a-f]*$' \
    "$work/out")" -eq 16 ]
result $? "list"
runs 0 cache list "$dir" --json && python '
import struct, time
entries = made["list"]
keys = sorted(struct.unpack("<QQQ", bytes.fromhex(entry["key"])) for entry in entries)
assert keys == [(1, i, 65536 if i < 15 else 1000000 - 15 * 65536) for i in range(16)], keys
for entry in entries:
    assert entry["task"] == "tine-pi" and entry["version"] == 0, entry
    assert entry["val_len"] == 8, entry
    assert time.time() - 600 < entry["born"] <= entry["used"] < time.time() + 600, entry
'
result $? "list --json"
runs 0 cache list "$dir" --task tine-pi && [ "$(wc -l <"$work/out")" -eq 16 ] &&
    runs 0 cache list "$dir" --task other && [ ! -s "$work/out" ] &&
    runs 0 cache list "$dir" --task other --json && python 'assert made == {"list": []}'
result $? "list --task"

runs 0 cache verify "$dir" && grep -qx 'dropped    0' "$work/out" && [ ! -s "$work/err" ] &&
    runs 0 cache verify "$dir" --json &&
    python 'assert made == {"dropped": 0, "entries": 16, "restarted": False}, made'
result $? "verify"

# A byte of each input is another; each is noticed, and then gone.
/usr/bin/python3 -c '
import sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.find(b"tine-pi\0")
while at >= 0:
    data[at + 12] ^= 1
    at = data.find(b"tine-pi\0", at + 1)
open(sys.argv[1], "r+b").write(data)
' "$dir/data"
runs 1 cache verify "$dir" --json && python 'assert made["dropped"] == 16, made' &&
    runs 0 cache verify "$dir" --json &&
    python 'assert made["dropped"] == made["entries"] == 0, made'
result $? "verify drops what is damaged, with exit code 1"

fill
runs 0 cache clear "$dir" --task other --json &&
    python 'assert made == {"dropped": 0, "entries": 16}, made' &&
    runs 0 cache clear "$dir" --task tine-pi --json &&
    python 'assert made == {"dropped": 16, "entries": 0}, made'
result $? "clear --task"
fill
runs 0 cache clear "$dir" && grep -qx 'dropped    16' "$work/out" &&
    grep -qx 'entries    0' "$work/out" && runs 0 cache list "$dir" && [ ! -s "$work/out" ]
result $? "clear"

bad=0
fill
runs 0 cache stat "$dir" --max-bytes 2e7 --json &&
    python 'assert made["max_bytes"] == 20000000, made' || bad=1
runs 0 cache stat "$dir" --json && python 'assert made["max_bytes"] == 20000000, made' || bad=1
complains "'1048575'" cache stat "$dir" --max-bytes 1048575 || bad=1
complains "'x'" cache stat "$dir" --max-bytes x || bad=1
result $bad "--max-bytes stays"

# Said once, and everything goes on.
for action in stat list clear verify; do
    fill
    printf xxxxxxxx | dd of="$dir/index" conv=notrunc bs=8 count=1 2>"$work/dd"
    code=0
    [ $action = verify ] && code=1
    runs $code cache $action "$dir" && [ "$(wc -l <"$work/err")" -eq 1 ] &&
        grep -q "'$dir' was damaged beyond repair" "$work/err" &&
        runs 0 cache $action "$dir" && [ ! -s "$work/err" ]
    result $? "$action says that damage was beyond repair"
done

bad=0
for action in stat list clear verify; do
    complains "'$work/none'" cache $action "$work/none" || bad=1
    mkdir "$work/empty" && complains "'$work/empty'" cache $action "$work/empty" || bad=1
    rmdir "$work/empty" || bad=1
    [ ! -e "$work/none" ] || bad=1
    ln -sfn "$dir" "$work/link" && complains "'$work/link'" cache $action "$work/link" || bad=1
    touch "$work/file" && complains "'$work/file'" cache $action "$work/file" || bad=1
    TINE_CACHE=$work/none2 complains "'$work/none2'" cache $action || bad=1
    [ ! -e "$work/none2" ] || bad=1
done
complains "ACTION" cache || bad=1
complains "'what'" cache what || bad=1
complains "stat, list, clear or verify" cache what || bad=1
complains "'more'" cache stat "$dir" more || bad=1
complains "--task" cache stat "$dir" --task x || bad=1
complains "--task" cache verify "$dir" --task x || bad=1
result $bad "bad input is named, and nothing is made"

bad=0
fill
mkdir -p "$work/xdg" "$work/home/.cache"
cp -rp "$dir" "$work/xdg/tine"
cp -rp "$dir" "$work/home/.cache/tine"
for where in "TINE_CACHE=$dir" "XDG_CACHE_HOME=$work/xdg" "HOME=$work/home"; do
    env -u TINE_CACHE -u XDG_CACHE_HOME "$where" "$TINE" cache stat >"$work/out" 2>"$work/err" &&
        grep -qx 'entries    16' "$work/out" || bad=1
done
env -u TINE_CACHE -u XDG_CACHE_HOME -u HOME "$TINE" cache stat >"$work/out" 2>"$work/err"
[ $? -eq 2 ] && grep -q 'neither TINE_CACHE, XDG_CACHE_HOME nor HOME is set' "$work/err" ||
    bad=1
result $bad "the default folder"

if [ "$(id -u)" -eq 0 ]; then
    chown 12345 "$dir"
    complains "'$dir': it or a file in it belongs to another user, or others can write it" cache stat "$dir"
    result $? "somebody else's folder"
    chown 0 "$dir"
else
    skip "somebody else's folder" "not root"
fi

"$TINE" cache list "$dir" >/dev/full 2>"$work/err"
[ $? -eq 3 ] && grep -q 'No space left' "$work/err"
result $? "a full disk is exit code 3"
plan
