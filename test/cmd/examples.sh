#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples are short, run, and say what they should.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

"$BUILD/examples/example-pi" >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ] &&
    grep -qx 'pi is about 3\.141[0-9]*' "$work/out"
result $? "pi"

for turn in first second; do
    "$BUILD/examples/example-cached" "$work/cache" >"$work/$turn" 2>"$work/err" &&
        [ ! -s "$work/err" ] && grep -qx 'pi is about 3\.141[0-9]*' "$work/$turn"
    result $? "cached, $turn run"
done
cmp -s "$work/first" "$work/second" && "$TINE" cache stat "$work/cache" --json |
    grep -q '"entries": 1000, .*"hits": 1000, '
result $? "cached, from the cache"

# As primesieve 100000000 100099999 counts them.
"$BUILD/examples/example-search" >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ] &&
    grep -qx '5411 primes' "$work/out"
result $? "search"

"$BUILD/examples/example-join" >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ] &&
    grep -qx '333833500' "$work/out"
result $? "join"

"$BUILD/examples/example-verify" >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ] &&
    [ "$(cat "$work/out")" = '112272535095295 is not prime
100109100129100369 is not prime
100109100129101027 is not prime
100109100129100151 is prime
100109100129162907 is prime' ]
result $? "verify"

# One of five fails, and one sleeps beyond its limit, with a child of its own.
printf '#!/bin/sh\ncase $1 in *3) exit 1 ;; *4) sleep 86.5 & sleep 86.5 ;; *) echo "$1" ;; esac\n' \
    >"$work/command"
chmod +x "$work/command"
"$BUILD/examples/example-files" "$work/command" "$work"/file-1 "$work"/file-2 "$work"/file-3 \
    "$work"/file-4 "$work"/file-5 2>"$work/err"
[ $? -eq 1 ] && [ "$(sort "$work/err")" = "$work/file-3: failed
$work/file-4: late" ] && [ "$(cat "$work/file-5.out")" = "$work/file-5" ]
result $? "files"
! pgrep -f '^sleep 86.5$' >"$work/out"
result $? "files, nothing left behind"

# The second says that it is large, and the third that it is a picture.
printf 'P6 2 1 255\n\001\002\003\003\004\005' >"$work/good.ppm"
printf 'P6 90000 90000 255\n\001' >"$work/bad.ppm"
echo 'no picture' >"$work/none.ppm"
"$BUILD/examples/example-pictures" "$work/good.ppm" "$work/bad.ppm" "$work/none.ppm" \
    >"$work/out" 2>"$work/err"
[ $? -eq 0 ] && grep -q 'good.ppm: 2 3 4$' "$work/out" &&
    grep -q 'bad.ppm: The process doing the work died' "$work/out" && grep -q 'none.ppm: no picture' "$work/out"
result $? "pictures"

if [ -x "$BUILD/examples/example-compress" ]; then
    seq 900000 >"$work/plain"
    "$BUILD/examples/example-compress" <"$work/plain" >"$work/plain.gz" 2>"$work/err" &&
        [ ! -s "$work/err" ] && gzip -dc "$work/plain.gz" | cmp -s - "$work/plain"
    result $? "compress"
else
    skip "compress" "no zlib"
fi

"$BUILD/examples/example-pipeline" src/pool/ledger.h >"$work/out" 2>"$work/err" &&
    [ ! -s "$work/err" ] && [ "$(cat "$work/out")" = "$(wc -w <src/pool/ledger.h) words" ]
result $? "pipeline"
! "$BUILD/examples/example-pipeline" "$work/no-such-file" >"$work/out" 2>&1 && [ ! -s "$work/out" ]
result $? "pipeline, a stage that fails"

# Killed when some results are there, it goes on with the others.
seq 3.5 0.01 3.99 >"$work/rates"
"$BUILD/examples/example-sweep" "$work/sweep" <"$work/rates" >"$work/first" 2>&1 &
sweep=$!
until "$TINE" cache stat "$work/sweep" --json 2>/dev/null | grep -q '"entries": [1-9]'; do
    kill -0 "$sweep" 2>/dev/null || break
    sleep 0.02
done
kill -KILL "$sweep" 2>/dev/null
wait "$sweep" 2>/dev/null
"$BUILD/examples/example-sweep" "$work/sweep" <"$work/rates" >"$work/out" 2>"$work/err" &&
    grep -qE '^[1-9][0-9]* of 50 were known$' "$work/err" && [ "$(wc -l <"$work/out")" -eq 50 ] &&
    [ ! -s "$work/first" ]
result $? "sweep, goes on where it was killed"
"$BUILD/examples/example-sweep" "$work/sweep" <"$work/rates" >"$work/again" 2>"$work/err" &&
    grep -qx '50 of 50 were known' "$work/err" && cmp -s "$work/out" "$work/again"
result $? "sweep, all of it known"

# Two datagrams, and their answers.
"$BUILD/examples/example-server" 2 >"$work/server" &
server=$!
until grep -q port "$work/server"; do sleep 0.05; done
port=$(sed 's/port //' "$work/server")
bash -c 'for n in 91 10007; do
    exec 3<>/dev/udp/127.0.0.1/$0; printf %s $n >&3; timeout 20 head -c 1 <&3; echo
done' "$port" >"$work/out" 2>&1
wait $server && [ "$(cat "$work/out")" = "7
1" ]
result $? "server"

long=0
for example in examples/*.c; do
    [ "$(wc -l <"$example")" -lt 60 ] || long=1
    grep -q '^#include <tine.h>' "$example" || long=1
done
result $long "each is under 60 lines, and uses tine"
plan
