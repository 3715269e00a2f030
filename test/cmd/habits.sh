#!/bin/sh
# SPDX-License-Identifier: MIT
# Habits of every subcommand that the help lists. One that is new says here how it is run.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

export TINE_CACHE="$work/default"
unset TINE_WORKERS TINE_ISA TINE_TRACE NO_COLOR
mkdir "$work/in"
"$TINE" pi -n 1e6 --cache "$work/default" >/dev/null
family
cat >"$work/habits.py" <<'END'
from family import *
import atexit, json, re, shutil, time

tine, work = sys.argv[1:3]

# A process to look at, which ends with this one.
watched = subprocess.Popen([tine, "pi", "-n", "1e15", "-j", "1"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
atexit.register(watched.kill)
while subprocess.run([tine, "inspect", str(watched.pid)], capture_output=True).returncode:
    time.sleep(0.01)
# And a folder.
subprocess.run([tine, "map", "--cache", f"{work}/in/looked-at", "true", ":::", "a"])

# And a server, where there is one.
SERVER = None
if shutil.which("redis-server"):
    manager = subprocess.Popen([tine, "manager"], stdout=subprocess.PIPE, text=True)
    atexit.register(manager.kill)
    SERVER = manager.stdout.readline().strip()

# Arguments of a run that is short, and of such as last, with their standard input.
SHORT = {"cache": ["stat"], "doctor": [], "inspect": [f"{work}/in/looked-at"],
         "isprime": ["100109100129162907"],
         "map": ["echo", ":::", "a", "b"], "pi": ["-n", "1e6"],
         "primes": ["100000", "200000"], "tour": ["-q", "streams"]}
LONG = {"map": [(["-j", "2", "sleep", "60", ":::", ".1", ".2", ".3"], "")],
        "isprime": [(["-j", "2"], "18446744073709551557 " * 100)],
        "pi": [(["-n", "1e15", "-j", "2"], "")],
        "primes": [(["0", "18446744073709551616", "-j", "2", "--via", via], "")
                   for via in ("queue", "map", "serial")],
        "manager": [(["--json"], "")], "top": [([str(watched.pid)], "")],
        "tour": [(["-j", "2", "flags"], "")]}
VALUES = {"trials": "1e6", "workers": "2", "seed": "7", "cache": f"{work}/in/cache",
          "trace": f"{work}/in/trace", "task": "tine-pi", "max-bytes": "2e6",
          "at": f"{work}/in/redis", "html": f"{work}/in/page", "json": f"{work}/in/json",
         "columns": ",", "per-job": "2", "retries": "1", "timeout": "60", "memory": "1G", "memfree": "1K",
         "log": f"{work}/in/log", "results": f"{work}/in/results",
         "in": "file", "out": os.path.realpath(tine), "env": "HOME"}
KEPT = ["--cache", f"{work}/in/cache", "echo"]
# Options that want another, or another run.
WITH = {"task": ["list"], "max-bytes": ["stat"], "columns": ["echo"],
        "in": KEPT, "out": KEPT, "env": KEPT}
# What follows their first operand is another command's.
ENDED = ["map"]

def run(*words, env={}, **more):
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE, **more}
    return subprocess.run([tine, *words], text=True, timeout=300,
                          env={**os.environ, **env}, **more)

commands = [line.split()[0] for line in run("--help").stdout.splitlines()
            if re.match(r"  [a-z]+ ", line)]
commands.remove("help")
if SERVER:
    SHORT["workers"] = [SERVER]
    LONG["worker"] = [([SERVER, "-j", "2"], "")]
else:
    commands = [command for command in commands if not command.startswith("worker")]
for command in commands:
    assert command in SHORT or command in LONG, f"say how {command} is run"
short = [command for command in commands if command in SHORT]
# Some say no with 1.
GOOD = 0, 1

# Its options: name, letter or "", and value: "", "WORD" or "one|other".
def options(command):
    found = []
    for line in run("help", command).stdout.splitlines():
        row = re.match(r"  (?:-(\w), |    )--([a-z-]+)(?: (\S+))?  ?", line)
        if row and row[2] not in ("help", "version"):
            found.append((row[2], row[1] or "", row[3] or ""))
    return found

# What is printed, without what differs from run to run.
def steady(text):
    text = re.sub(r" +[\d.]+ [mun]?s +[\d.,]+x( slower)?", " N", text)
    # How busy the machine is.
    text = re.sub(r"(?m)^  (ok|note)  load .*\n|^The machine was busy.*\n", "", text)
    text = re.sub(r'"load": [\d.]+', "N", text)
    text = re.sub(r'\{"section": "processors", "name": "load", [^}]*\}', "N", text)
    text = re.sub(r" as (fast|slow) as", " N", text)
    text = re.sub(r"\d+\.\d+ (seconds|ms|GiB|MiB)|\d+ million trials", "N", text)
    text = re.sub(r'"(seconds\w*|speedup)": [\d.]+|seconds +[\d.]+', "N", text)
    text = re.sub(r"(hits|misses)(\W+)\d+", r"\1 N", text)
    return re.sub(r"\d[\d.]* [KMG]iB", "N", text)

# The words for JSON on standard output.
def json_words(command):
    value = {name: value for name, _, value in options(command)}.get("json")
    return None if value is None else ["--json", "-"] if value else ["--json"]

def members_of(group):
    return [pid for pid, _, its in stats() if its == group]
END

# habit NAME PROGRAM: with each command of the help.
habit() {
    PYTHONPATH=$work timeout 300 /usr/bin/python3 -c "from habits import *
$2" "$TINE" "$work" >"$work/log" 2>&1
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log"
    result $code "$1"
}

habit "help goes to standard output, with 0" '
texts = {}
for words in ["help"], ["--help"], ["-h"], ["help", "--help"], ["help", "-h"]:
    made = run(*words)
    assert made.returncode == 0 and made.stdout and not made.stderr, (words, made)
    assert made.stdout == texts.setdefault("", made.stdout), words
for command in commands:
    for words in [["help", command], [command, "--help"], [command, "-h"],
                  [command, *([] if command in ENDED else SHORT.get(command, [])), "--help"],
                  [command, "-h", "--no-such"]]:
        made = run(*words)
        assert made.returncode == 0 and made.stdout and not made.stderr, (words, made)
        assert made.stdout == texts.setdefault(command, made.stdout), words
    assert all(len(line) <= 80 for line in texts[command].splitlines()), texts[command]
'
habit "usage errors go to standard error, with 2, and name what is wrong" '
def wrong(word, *words):
    made = run(*words)
    assert made.returncode == 2 and not made.stdout, (words, made)
    assert made.stderr.startswith("tine: ") and made.stderr.count("\n") == 1, (words, made)
    assert word in made.stderr, (words, made)
wrong("bogus", "bogus")
wrong("--bogus", "--bogus")
wrong("extra", "--version", "extra")
made = run()
assert made.returncode == 2 and not made.stdout and made.stderr, made
for command in commands:
    wrong("--no-such", command, "--no-such")
    wrong("--no-such=3", command, "--no-such=3")
    wrong("-Z", command, "-Z")
    for name, letter, value in options(command):
        if not value:
            wrong(f"--{name}=3", command, f"--{name}=3")
            continue
        wrong(f"--{name}", command, f"--{name}")
        if letter:
            wrong(f"-{letter}", command, f"-{letter}")
        if "|" in value or name in ("workers", "trials", "seed", "max-bytes"):
            wrong("bogus", command, f"--{name}", "bogus")
            wrong(f"--{name}", command, f"--{name}=")
'
habit "--option=value, --option value and -o value are the same" '
for command in short:
    for name, letter, value in options(command):
        # A server for it is in worker.sh.
        if not value or name == "engine":
            continue
        given = value.split("|")[0] if "|" in value else VALUES.get(name)
        if name == "flag":
            given = "event"
        assert given, f"say what --{name} may be"
        rest = WITH.get(name, SHORT[command])
        if name == "trials":
            rest = []
        forms = [[f"--{name}={given}"], [f"--{name}", given]]
        forms += [[f"-{letter}", given], [f"-{letter}{given}"]] if letter else []
        # What is new to a cache is so once.
        run(command, *forms[0], *rest)
        outs = []
        orders = [words for form in forms for words in ([*form, *rest], [*rest, *form])
                  if command not in ENDED or words[:len(form)] == form]
        for words in sample(2, orders):
            made = run(command, *words)
            assert made.returncode in GOOD and not made.stderr, (command, words, made)
            outs.append(steady(made.stdout))
        assert len(set(outs)) == 1, (command, name, outs)
'
habit "-- ends the options" '
for command in short:
    rest = SHORT[command]
    first = [word for word in rest if word != "--"]
    # Operands come after it.
    before = first[:{"pi": 2, "tour": 1}.get(command, 0)]
    after = first[len(before):]
    made = run(command, *before, "--", *after)
    assert made.returncode in GOOD and not made.stderr, made
    assert steady(made.stdout) == steady(run(command, *rest).stdout), made
    if command in ENDED:
        continue
    made = run(command, *before, "--", *after, "--help")
    # A folder of a cache may have any name.
    assert made.returncode == 2 and "--help" in made.stderr, made
'
habit "a full disk is 3, and a message" '
def full(*words):
    for more in {"stdout": open("/dev/full", "w")}, {"preexec_fn": lambda: os.close(1)}:
        made = run(*words, **more)
        assert made.returncode == 3, (words, made)
        assert made.stderr.startswith("tine: ") and made.stderr.count("\n") == 1, made
        assert "standard output" in made.stderr, made
full("--version")
full("--help")
for command in commands:
    full(command, "--help")
for command in short:
    full(command, *SHORT[command])
    if json_words(command):
        full(command, *SHORT[command], *json_words(command))
full("primes", "0", "1e18", "--print", "-j", "2")
'
habit "a closed pipe is quiet" '
for ignored in False, True:
    def run_closed(*words):
        reads, writes = os.pipe()
        os.close(reads)
        made = run(*words, stdout=writes, restore_signals=not ignored)
        os.close(writes)
        assert made.stderr == "", (words, made)
        assert made.returncode == (3 if ignored else -signal.SIGPIPE), (words, made)
    run_closed("--help")
    for command in commands:
        run_closed(command, "--help")
    for command in short:
        run_closed(command, *SHORT[command])
    run_closed("primes", "0", "1e18", "--print", "-j", "2")
'
habit "without standard input or error it works as well" '
def close_both():
    os.close(0)
    os.close(2)
for command in short:
    made = run(command, *SHORT[command], preexec_fn=close_both)
    assert made.returncode in GOOD, made
    assert steady(made.stdout) == steady(run(command, *SHORT[command]).stdout), made
'
habit "no progress and no colour but on a terminal" '
for command in short:
    made = run(command, *SHORT[command])
    assert not made.stderr, made
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", made.stdout), made
'
if command -v script >/dev/null; then
    habit "on a terminal, NO_COLOR and TERM=dumb" '
for command in short:
    for env in {}, {"NO_COLOR": "1"}, {"TERM": "dumb"}:
        line = " ".join([tine, command, *SHORT[command]])
        made = subprocess.run(["script", "-qec", line, "/dev/null"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env={**os.environ, **env})
        assert made.returncode in GOOD, made
        assert not env or "\033" not in made.stdout, made
'
else
    skip "on a terminal, NO_COLOR and TERM=dumb" "no script(1)"
fi
habit "every locale is the same" '
for command in short:
    for words in [command, "--help"], [command, *SHORT[command]], [command, "--no-such"]:
        outs = {(made.returncode, steady(made.stdout), made.stderr) for made in
                [run(*words, env={"LC_ALL": locale})
                 for locale in ("C", *sample(1, ("C.UTF-8", "POSIX", "de_DE.UTF-8", "none")))]}
        assert len(outs) == 1, outs
'
habit "--json is JSON, and all of it" '
for command in short:
    if command in ENDED:
        continue
    assert json_words(command), command
    actions = ["stat", "list", "verify", "clear"] if command == "cache" else [None]
    for action in actions:
        words = [action] if action else SHORT[command]
        made = run(command, *words, *json_words(command))
        assert made.returncode in GOOD and not made.stderr, made
        assert isinstance(json.loads(made.stdout), dict) and made.stdout.endswith("}\n"), made
        if "compare" in [name for name, _, _ in options(command)]:
            json.loads(run(command, *words, "--json", "--compare").stdout)
'
(
    trap - INT
    habit "a signal ends all of it, and the exit status says so" '
import shutil

def blocks(pid, number):
    mask = re.search("SigBlk:\t(.*)", open(f"/proc/{pid}/status").read())[1]
    return int(mask, 16) >> number - 1 & 1

for command in commands:
    for words, text in LONG.get(command, []):
        if command == "manager" and not shutil.which("redis-server"):
            continue
        for number in sample(2, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
            made = start(command, *words)
            # Of the terminal, all get Ctrl-C; SIGTERM comes to the command alone.
            made.stdin.write(text)
            made.stdin.flush()
            begun = time.time()
            server = 0
            if command == "manager":
                # It is in a group of its own.
                server = json.loads(made.stdout.readline())["pid"]
            # So are the jobs of another command.
            alone = server or command in [*ENDED, "top"] or "serial" in words
            least = 0 if alone else 2
            while len(members(made.pid)) < least:
                assert made.poll() is None and time.time() - begun < 30, made.poll()
                time.sleep(0.005)
            # A host waits for them once it has joined.
            while command == "worker" and not blocks(made.pid, signal.SIGTERM):
                assert made.poll() is None and time.time() - begun < 30, made.poll()
                time.sleep(0.005)
            time.sleep(0.05)
            if number == signal.SIGINT and command != "manager":
                os.killpg(made.pid, number)
            else:
                os.kill(made.pid, number)
            # It drains, and has nothing to do.
            drains = command == "worker" and number != signal.SIGHUP
            assert made.wait(30) == (0 if drains else -number), \
                (command, words, number, made.returncode)
            nobody_is_left(made)
            while server in [pid for pid, _, _ in stats()]:
                assert time.time() - begun < 30, server
                time.sleep(0.01)
            out, err = made.communicate()
            assert err == "", err
'
    echo "$tests" >"$work/tests"
)
tests=$(cat "$work/tests")
habit "a command whose helper hangs leaves nobody" '
os.mkdir(f"{work}/bin")
with open(f"{work}/bin/redis-server", "w") as file:
    file.write("#!/bin/sh\nexec sleep 60\n")
os.chmod(f"{work}/bin/redis-server", 0o755)
os.environ["PATH"] = f"{work}/bin:" + os.environ["PATH"]
made = start("doctor")
begun = time.time()
def command_of(pid):
    try:
        return open(f"/proc/{pid}/cmdline", errors="replace").read()
    except OSError: # it has ended
        return ""

while not any("sleep" in command_of(pid) for pid in members(made.pid)):
    assert made.poll() is None and time.time() - begun < 30
    time.sleep(0.005)
os.kill(made.pid, signal.SIGTERM)
assert made.wait(30) == -signal.SIGTERM
nobody_is_left(made)
'
habit "nothing is left behind" '
assert sorted(os.listdir(f"{work}/in")) == ["cache", "json", "log", "looked-at", "page", "results",
                                                "trace"], os.listdir(f"{work}/in")
'
plan
