# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# TAP for the tests of commands. TINE is the command; $work an empty folder.
set -u
tests=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# result CODE NAME: a test passed if the code is 0.
result() {
    tests=$((tests + 1))
    if [ "$1" -eq 0 ]; then echo "ok $tests - $2"; else echo "not ok $tests - $2"; fi
}

skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

plan() {
    echo "1..$tests"
}

# runs CODE ARGUMENT...: runs the command and keeps what it prints; whether it exits so.
runs() {
    expected=$1
    shift
    "$TINE" "$@" >"$work/out" 2>"$work/err"
    code=$?
    [ "$code" -eq "$expected" ] && return 0
    echo "# tine $*: exit code $code, not $expected"
    sed 's/^/# /' "$work/out" "$work/err"
    return 1
}

# complains WHAT ARGUMENT...: exits with 2 and one line on stderr that names it.
complains() {
    what=$1
    shift
    runs 2 "$@" || return 1
    [ ! -s "$work/out" ] || { echo "# tine $*: a usage error on stdout" && return 1; }
    [ "$(wc -l <"$work/err")" -eq 1 ] || { echo "# tine $*: not one line" && return 1; }
    grep -qF -- "$what" "$work/err" && return 0
    echo "# tine $*: '$what' is not in: $(cat "$work/err")"
    return 1
}

# sample N WORD...: N of the words, others in each run; all of them under TEST_SOAK.
sample() {
    n=$1
    shift
    [ -z "${TEST_SOAK-}" ] || n=$#
    printf '%s\n' "$@" | shuf -n "$n"
}

# commands: the subcommands, as the help lists them.
commands() {
    "$TINE" --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -v '^help$'
}

# family: writes the module family, by which Python looks at a run's processes from outside.
# TINE is its first argument.
family() {
    cat >"$work/family.py" <<'END'
import os, random, signal, subprocess, sys, time

# N of them, others in each run; all of them under TEST_SOAK.
def sample(n, them):
    them = list(them)
    return them if os.environ.get("TEST_SOAK") or n >= len(them) else random.sample(them, n)

def stats():
    for name in os.listdir("/proc"):
        try:
            stat = open(f"/proc/{name}/stat").read() if name.isdigit() else ""
        except (OSError, ProcessLookupError):
            continue
        fields = stat.rpartition(")")[2].split()
        if fields and fields[0] not in "ZX":
            yield int(name), int(fields[1]), int(fields[2])

# Those of a process group, but its leader.
def members(leader):
    return [pid for pid, _, group in stats() if group == leader and pid != leader]

# Those that have no children: the workers.
def workers(leader):
    parents = {parent for _, parent, _ in stats()}
    return sorted(pid for pid in members(leader) if pid not in parents)

def start(*arguments):
    return subprocess.Popen([sys.argv[1], *arguments], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            preexec_fn=lambda: (os.setpgid(0, 0),
                                                signal.signal(signal.SIGINT, signal.SIG_DFL)))

def wait_for(n, run):
    begun = time.time()
    while len(workers(run.pid)) != n:
        assert time.time() - begun < 30, workers(run.pid)
        time.sleep(0.005)

def nobody_is_left(run):
    begun = time.time()
    while members(run.pid):
        assert time.time() - begun < 30, members(run.pid)
        time.sleep(0.01)
END
}

# mapping: what tests of tine map, in Python, begin with; try runs one: try NAME PROGRAM.
mapping() {
    cat >"$work/mapping.py" <<'END'
import glob, json, os, re, shlex, shutil, signal, subprocess, sys, tempfile, time

tine = sys.argv[1]

# The exit code and both streams; text or bytes, as its input is. file: by a regular file.
def run(*words, text="", file=False, env={}, **more):
    given = text if isinstance(text, bytes) else text.encode()
    stdin = tempfile.TemporaryFile() if file else None
    if file:
        stdin.write(given)
        stdin.seek(0)
    made = subprocess.run([tine, "map", *words], timeout=300, env={**os.environ, **env},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **({"stdin": stdin} if file else {"input": given}), **more)
    if isinstance(text, bytes):
        return made.returncode, made.stdout, made.stderr
    return made.returncode, made.stdout.decode(), made.stderr.decode()

# A time for sleep(1) that nobody else has.
def mark(n):
    return f"{600 + n}.{os.getpid():07}"

# One for scripts.
nap = os.environ["NAP"] = mark(0)

# Processes, but zombies, whose command line begins so.
def processes(start):
    found = []
    for name in os.listdir("/proc"):
        try:
            line = open(f"/proc/{name}/cmdline", errors="replace").read() if name.isdigit() else ""
        except OSError:
            continue
        if line.replace("\0", " ").startswith(start):
            found.append(int(name))
    return found

def wait_for(what):
    begun = time.time()
    while not what():
        assert time.time() - begun < 60
        time.sleep(0.01)
END
}

try() {
    PYTHONPATH=$work timeout 300 /usr/bin/python3 -c "from mapping import *
$2" "$TINE" >"$work/log-of-try" 2>&1
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log-of-try"
    result $code "$1"
}
