#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

# What is prime, by Miller and Rabin: certain up to 2^64 with these twelve bases.
cat >"$work/oracle.py" <<'END'
import json, sys

BASES = 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37

def is_prime(n):
    if n < 2 or any(n % base == 0 for base in BASES):
        return n in BASES
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in BASES:
        power = pow(base, odd, n)
        if power in (1, n - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % n
            if power == n - 1:
                break
        else:
            return False
    return True

def prime_before(n):
    while not is_prime(n - 1):
        n -= 1
    return n - 1

# The object that was printed, and that of each number it is right.
def checked(text, numbers, least=None):
    made = json.loads(text)
    assert [each["number"] for each in made["numbers"]] == numbers, text
    for each in made["numbers"]:
        n, divisor = each["number"], each["divisor"]
        assert each["prime"] == is_prime(n), each
        assert (divisor is None) == (n < 2 or is_prime(n)), each
        assert each["seconds"] >= 0, each
        if divisor:
            assert 1 < divisor < n and n % divisor == 0 and divisor * divisor <= n, each
            assert is_prime(divisor), each
            small = next((p for p in range(2, 1000) if n % p == 0), divisor)
            assert divisor == small, each
        if least and divisor:
            assert divisor == least[n], each
    return made

END

# python PROGRAM ARGUMENT...: with the oracle, and TINE as the first argument.
python() {
    program=$1
    shift
    PYTHONPATH=$work timeout 300 /usr/bin/python3 -c "from oracle import *
import os, random, signal, subprocess, time
tine = sys.argv[1]
def run(*words, text=None, code=None, env={}):
    made = subprocess.run([tine, 'isprime', *map(str, words)], input=text, text=True,
                          stdin=None if text is not None else subprocess.DEVNULL,
                          capture_output=True, env={**os.environ, **env})
    assert code is None or made.returncode == code, (words, made)
    return made
$program" "$TINE" "$@"
}

python '
numbers = list(range(0, 20000))
made = run("--json", text=" ".join(map(str, numbers)), code=1)
checked(made.stdout, numbers)
'
result $? "the first twenty thousand numbers"

# Small ones, squares of primes, products of two, primes, of every length.
python '
random.seed(5)
numbers, least = [], {}
for bits in range(2, 32):
    for other in {bits, min(bits + 3, 40), 46 - bits if bits < 23 else bits}:
        p, q = prime_before(2**bits + random.randrange(1, 2**bits)), prime_before(2**other)
        numbers += [p * q, p * p]
        least[p * q], least[p * p] = min(p, q), p
numbers = [n for n in numbers if n < 2**56]
numbers += [prime_before(random.randrange(2**bits, 2**(bits + 1))) for bits in range(2, 56)]
numbers += [2**bits + off for bits in range(3, 50) for off in (-1, 0, 1)]
random.shuffle(numbers)
for n in numbers:
    least.setdefault(n, next((p for p in range(2, 50000) if n % p == 0), None))
least = {n: least[n] for n in numbers}
for n in numbers:
    if least[n] is None and not is_prime(n):
        numbers = [m for m in numbers if m != n]
made = run("--json", "-j", "3", *numbers, code=1)
checked(made.stdout, numbers, least)
'
result $? "numbers of every length, and the smallest divisor of each"

# The notebook asks for the first five; of 64 bits: the last prime, and products of two.
numbers='112272535095295 100109100129100369 100109100129101027 100109100129100151
    100109100129162907'
answers='112272535095295 not prime, divisible by 5
100109100129100369 not prime, divisible by 95362951
100109100129101027 not prime, divisible by 171656941
100109100129100151 prime
100109100129162907 prime'
# shellcheck disable=SC2086
answered() {
    runs 1 isprime "$@" $numbers || return 1
    sed 's/, [0-9.]* seconds$//; s/: / /' "$work/out" >"$work/said"
    [ "$(cat "$work/said")" = "$answers" ] && return 0
    echo "# isprime $*" && sed 's/^/# /' "$work/said"
    return 1
}

# A server for the flags that are kept on one, as long as this shell runs.
redis=
stores=yes
if command -v redis-server >/dev/null; then
    "$TINE" manager >"$work/url" 2>"$work/err" &
    server=$!
    for _ in $(seq 100); do
        [ -s "$work/url" ] || sleep 0.1
    done
    redis=$(cat "$work/url")
fi
runs 0 isprime --flag "file:$work/store" 5 || stores=

bad=0
for workers in $(sample 2 1 2 3 7); do
    for flag in none find event file "$work/flag"; do
        answered -j $workers --flag "$flag" || bad=1
    done
done
[ "$(wc -c <"$work/flag")" -eq 1 ] || bad=1
result $bad "any number of workers, any flag"

if [ "$stores" ]; then
    bad=0
    for workers in $(sample 1 1 3); do
        answered -j $workers --flag "file:$work/store" || bad=1
        answered -j $workers --flag "file:$work/store" --poll || bad=1
    done
    result $bad "a flag in a store on files, mirrored and polled"
else
    skip "a flag in a store on files, mirrored and polled" "no LMDB"
fi
if [ "$redis" ]; then
    bad=0
    for workers in $(sample 1 1 3); do
        answered -j $workers --flag "$redis" || bad=1
        answered -j $workers --flag "$redis" --poll || bad=1
    done
    result $bad "a flag on a Redis server, mirrored and polled"
    socket=${redis#unix:} password=${redis#*password=}
    [ "$(redis-cli --no-auth-warning -s "${socket%%\?*}" -a "$password" dbsize)" = 0 ]
    result $? "no key is left on the server"
else
    skip "a flag on a Redis server, mirrored and polled" "no redis-server"
fi

bad=0
for isa in generic avx2 avx512; do
    TINE_ISA=$isa answered || bad=1
    TINE_ISA=$isa runs 0 isprime --json 100109100129162907 || bad=1
    case $(grep -o '"isa": "[a-z0-9]*"' "$work/out") in
    "\"isa\": \"$isa\"" | '"isa": "generic"') ;;
    '"isa": "avx2"') [ $isa = avx512 ] || bad=1 ;;
    *) bad=1 ;;
    esac
done
result $bad "any instruction set"

runs 0 isprime 18446744073709551557 && grep -q '^18446744073709551557: prime, ' "$work/out"
result $? "the largest prime of 64 bits"
python '
least = {4294967291**2: 4294967291, 4294967291 * 4294967279: 4294967279,
         4294967279**2: 4294967279, 2**64 - 1: 3, 2**64 - 3: 13}
numbers = [*map(int, sys.argv[2].split()), 2**64 - 1, 2**64 - 3]
checked(run("--json", *numbers, code=1).stdout, numbers, least)
' "$(sample 1 18446744030759878681 18446743979220271189 18446743927680663841)"
result $? "products of primes of 32 bits"

bad=0
runs 0 isprime 2 3 18_446_744_073_709_551_557 || bad=1
runs 0 isprime --json -- 13e0 || bad=1
runs 1 isprime 2 3 4 || bad=1
runs 1 isprime 0 && grep -qx '0: not prime, [0-9.]* seconds' "$work/out" || bad=1
runs 1 isprime 1 && grep -qx '1: not prime, [0-9.]* seconds' "$work/out" || bad=1
runs 1 isprime 1e18 && grep -q '^1000000000000000000: not prime, divisible by 2, ' "$work/out" || bad=1
result $bad "exit codes and words"

bad=0
for word in x '' 1.5 -- 0x10 1e20 18446744073709551616 5x ' 5' ./5; do
    [ "$word" = -- ] || complains "'$word'" isprime 3 "$word" 5 || bad=1
done
complains "'-5'" isprime -5 || bad=1
complains "--workers" isprime -j 0 5 || bad=1
complains "'fast'" isprime --flag fast 5 || bad=1
complains "a path with a slash" isprime --flag= 5 || bad=1
complains "none, find, event, file" isprime --flag fast 5 || bad=1
complains "'/nowhere/flag'" isprime --flag /nowhere/flag 5 || bad=1
complains "'$work/'" isprime --flag "$work/" 5 || bad=1
echo precious >"$work/precious"
complains "--poll" isprime --poll 5 || bad=1
complains "--poll" isprime --poll --flag event 5 || bad=1
complains "'unix:/nowhere/redis'" isprime --flag 'unix:/nowhere/redis?password=secret' 5 || bad=1
grep -q secret "$work/err" && bad=1
complains "'redis://127.0.0.1:1'" isprime --flag redis://me:secret@127.0.0.1:1 --poll 5 || bad=1
grep -q secret "$work/err" && bad=1
complains "'redis://127.0.0.1:1'" isprime --compare --flag redis://:secret@127.0.0.1:1 5 || bad=1
complains "'file:'" isprime --flag file: 5 || bad=1
complains "9 bytes" isprime --flag "$work/precious" 5 || bad=1
[ "$(cat "$work/precious")" = precious ] || bad=1
result $bad "bad input is named, with exit code 2"

bad=0
printf ' 2\n\t3\r\n\n5 7' | runs 0 isprime && [ "$(wc -l <"$work/out")" -eq 4 ] || bad=1
printf '4 5' | runs 1 isprime 2 - 3 &&
    [ "$(sed 's/[:,].*//' "$work/out" | tr '\n' ' ')" = "2 4 5 3 " ] || bad=1
: | runs 0 isprime && [ ! -s "$work/out" ] || bad=1
: | runs 0 isprime --json && grep -q '"numbers": \[\]' "$work/out" || bad=1
printf '3 5 17x 4' | runs 2 isprime && [ "$(wc -l <"$work/out")" -eq 2 ] &&
    grep -q "'17x'" "$work/err" || bad=1
printf '3\0 5' | runs 2 isprime && grep -q "'3?'" "$work/err" || bad=1
printf '3 %0500d' 7 | runs 2 isprime && grep -q "\\.\\.\\.'" "$work/err" || bad=1
printf '3 x' | runs 2 isprime --json && /usr/bin/python3 -m json.tool <"$work/out" >/dev/null || bad=1
runs 3 isprime </ && grep -q 'standard input: Is a directory' "$work/err" || bad=1
result $bad "words from standard input"

python '
made = subprocess.Popen([tine, "isprime"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for n in 5, 100109100129162907, 9:
    print(n, file=made.stdin, flush=True)
    assert made.stdout.readline().startswith(f"{n}: ")
made.stdin.close()
assert made.wait(30) == 1
'
result $? "each number is answered before the next is read"

python '
numbers = [7, 1000000000039, 100109100129100369, 100109100129162907]
made = checked(run("--json", "--compare", "-j", 3, *numbers, code=1).stdout, numbers)
assert made["workers"] == 3 and made["flag"] == "find", made
for each in made["numbers"]:
    runs = each["runs"]
    flags = ["one", "none", "find", "event", "file", "store", "redis", "mirror"]
    left = each["left_out"]
    assert [run["flag"] for run in runs] == [flag for flag in flags if flag not in left], each
    assert bool(sys.argv[2]) == ("store" not in left), left
    assert bool(sys.argv[3]) == ("redis" not in left) == ("mirror" not in left), left
    assert [run["workers"] for run in runs] == [1] + [3] * (len(runs) - 1), runs
    assert [run["look"] is None for run in runs] == [True, True] + [False] * (len(runs) - 2), runs
    for one in runs:
        assert abs(one["speedup"] - runs[0]["seconds"] / one["seconds"]) < 0.001, runs
    assert each["seconds"] == runs[2]["seconds"], each
lines = run("--compare", "-j", 1, 7, code=0).stdout.splitlines()
assert len(lines) == 9 and lines[0].startswith("7: prime, "), lines
assert lines[1].endswith("with one process") and lines[1].startswith("  one "), lines
assert all("with 1 worker:" in line or "left out:" in line for line in lines[2:]), lines
assert all("left out" in line or line.endswith(" ns a look") for line in lines[3:]), lines
# Without a server in the path, and with the one that is given.
made = run("--compare", "-j", 2, "--json", 7, code=0, env={"PATH": "/nowhere"}).stdout
left = json.loads(made)["numbers"][0]["left_out"]
assert "redis" in left and "mirror" in left, left
if sys.argv[3]:
    made = run("--compare", "-j", 2, "--json", "--flag", sys.argv[3], 7, code=0,
               env={"PATH": "/nowhere"}).stdout
    assert "redis" not in json.loads(made)["numbers"][0]["left_out"], made
    assert json.loads(made)["flag"] == "mirror", made
' "$stores" "$redis"
result $? "--compare"

TMPDIR=$work runs 0 isprime --flag file 100109100129162907 &&
    TMPDIR=$work runs 0 isprime --compare -j 2 5 &&
    ! ls "$work"/tine-* >/dev/null 2>&1
result $? "nothing is left of files and folders"
# Its group as well, as Ctrl-C does; the store is looked for while it is there.
python '
work, stores = sys.argv[2:]
def folders():
    return [name for name in os.listdir(work) if name.startswith("tine-")]
for number in signal.SIGKILL, signal.SIGINT:
    for group in False, True:
        made = subprocess.Popen([tine, "isprime", "--compare", "-j", "2", "100109100129162907",
                                 *["18446744073709551557"] * 9],
                                stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": work},
                                preexec_fn=lambda: os.setpgid(0, 0))
        assert made.stdout.read(1)
        assert folders() or not stores
        (os.killpg if group else os.kill)(made.pid, number)
        assert made.wait(30) == -number
        begun = time.time()
        while folders():
            assert time.time() - begun < 30, folders()
            time.sleep(0.01)
' "$work" "$stores"
result $? "nothing is left of folders when it is killed"
TMPDIR=/nowhere runs 3 isprime --flag file 5 && grep -q '/nowhere/tine-' "$work/err"
result $? "a folder that is not there"

# Processor time: what the flag is for. The divisors lie at a sixteenth of the way.
python '
n = prime_before(2**28) * prime_before(2**36)
def used(flag):
    made = subprocess.Popen([tine, "isprime", "-j", "3", "--flag", flag, str(n)],
                            stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(made.pid, 0)
    made.returncode = os.waitstatus_to_exitcode(status)
    assert made.returncode == 1
    return used.ru_utime + used.ru_stime
all = used("none")
for flag in "find", "event", "file", *sys.argv[2:]:
    # How soon the worker that has the divisor runs is for the scheduler to say.
    assert any(used(flag) < all / 2 for _ in range(10)), (flag, all)
' "$work/flag" ${stores:+"file:$work/store"} ${redis:+"$redis"}
result $? "each flag saves what is left of the work"

# A stranger who sets the byte stops the workers, but makes nothing prime or composite.
python '
made = subprocess.Popen([tine, "isprime", "--json", "--flag", sys.argv[2], "-j", "2"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
stop = subprocess.Popen([sys.executable, "-c", """
import mmap, sys, time
file = open(sys.argv[1], "r+")
byte = mmap.mmap(file.fileno(), 1)
while True:
    byte[0] = 1
    time.sleep(0.0005)
""", sys.argv[2]])
time.sleep(0.2)
numbers = [100109100129100369, 100109100129162907, 100109100129101027, 100109100129100151] * 3
least = {100109100129100369: 95362951, 100109100129101027: 171656941}
out, _ = made.communicate(" ".join(map(str, numbers)))
assert stop.poll() is None
stop.kill()
stop.wait()
checked(out, numbers, least)
' "$work/flag"
result $? "a stranger at the file changes no answer"

timeout 300 "$TINE" isprime 5 >/dev/full 2>"$work/err"
[ $? -eq 3 ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q 'No space left' "$work/err"
result $? "a full disk ends it"

family

# The pool is one process that forks the workers.
PYTHONPATH=$work /usr/bin/python3 -c '
from family import *
run = start("isprime", "-j", "3")
def ask(n):
    print(n, file=run.stdin, flush=True)
    assert run.stdout.readline().startswith(f"{n}: ")
    return members(run.pid)
for n in 2, 4, 16777259, 1000000000039, 112272535095295:
    assert ask(n) == [], n
first = ask(100109100129162907)
assert len(first) == 4, first
assert ask(100109100129100369) == ask(7) == first
run.stdin.close()
assert run.wait(30) == 1
' "$TINE"
result $? "small numbers start no pool, and one serves all others"

for flag in none find event file ${stores:+"file:$work/store"} ${redis:+"$redis"}; do
    (
        trap - INT
        PYTHONPATH=$work exec /usr/bin/python3 -c '
from family import *
run = start("isprime", "--flag", sys.argv[2], "-j", "3")
run.stdin.write("18446744073709551557 " * 50)
run.stdin.close()
# A mirror is a process more.
wait_for(3 + (":" in sys.argv[2]), run)
time.sleep(0.05)
os.killpg(run.pid, signal.SIGINT)
assert run.wait(1) == -signal.SIGINT, run.returncode
nobody_is_left(run)
' "$TINE" "$flag"
    )
    result $? "Ctrl-C ends every process, with flag ${flag%%:*}"
done

PYTHONPATH=$work /usr/bin/python3 -c '
from family import *
# A product whose divisor comes late, and a prime.
numbers = ["18446743979220271189", "18446744073709551557"]
for flag in sample(1, ["none", "find"]):
    run = start("isprime", "--flag", flag, "-j", "3", *numbers)
    wait_for(3, run)
    for pid in workers(run.pid)[:2]:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    for pid in workers(run.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    out, err = run.communicate(timeout=60)
    assert run.returncode == 1 and err == "", (run.returncode, err)
    said = [line.rpartition(",")[0] for line in out.splitlines()]
    assert said == ["18446743979220271189: not prime, divisible by 4294967279",
                    "18446744073709551557: prime"], out
    nobody_is_left(run)
' "$TINE"
result $? "when workers are killed, the answers are right"

# The server is away for good: then nobody is told, and the answers are the same.
if [ "$redis" ]; then
    python '
for poll in (), ("--poll",):
    server = subprocess.Popen([tine, "manager", "--json"], stdout=subprocess.PIPE, text=True)
    made = json.loads(server.stdout.readline())
    numbers = [100109100129100369, 100109100129162907, 100109100129101027] * 2
    least = {100109100129100369: 95362951, 100109100129101027: 171656941}
    found = subprocess.Popen([tine, "isprime", "--json", "-j", "2", "--flag", made["url"], *poll],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found.stdin.write(f"{numbers[0]} ")
    found.stdin.flush()
    # It has workers once it is connected.
    children = f"/proc/{found.pid}/task/{found.pid}/children"
    while not open(children).read():
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(made["pid"], signal.SIGKILL)
    out, _ = found.communicate(" ".join(map(str, numbers[1:])))
    assert found.returncode == 1 and server.wait(30) == 3, (found.returncode, server)
    checked(out, numbers, least)
'
    result $? "when the server is killed, the answers are right"
    kill "$server"
fi
plan
