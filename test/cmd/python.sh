#!/bin/sh
# SPDX-License-Identifier: MIT
# The Python programs of bench/python, alone and as tine tour and bench/run call them.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

bench=$(cd "$(dirname "$0")/../../bench" && pwd)
export PYTHONDONTWRITEBYTECODE=1
family

# What a program says, and that none of its processes is left.
cat >"$work/scripts.py" <<'END_OF_SCRIPTS'
import importlib.util, json, math, os, pathlib, shutil, subprocess, sys, tempfile, time
from family import members, sample

bench, folder = sys.argv[2], sys.argv[3]
MEMBERS = {"seconds", "answer", "look", "estimates", "died", "never", "note",
           "left_out"}

def run_with(options, script, way, *numbers, workers=2):
    command = ["/usr/bin/python3", *options, f"{bench}/python/{script}.py", way,
               str(workers), folder, *map(str, numbers)]
    run = subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, start_new_session=True)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, (script, way, err)
    begun = time.time()
    while members(run.pid):
        assert time.time() - begun < 30, (script, way, members(run.pid))
        time.sleep(0.01)
    assert out.count("\n") == 1, (script, way, out)
    said = json.loads(out)
    assert set(said) <= MEMBERS, said
    return said

# It says so, with no other members than these.
def run(script, way, *numbers, wanted=(), **options):
    said = run_with((), script, way, *numbers, **options)
    if said.get("left_out", "").startswith("python3 has no "):
        print(said["left_out"])
        sys.exit(77)
    assert set(said) == {"seconds", *wanted}, (script, way, said)
    assert said["seconds"] > 0, said
    return said

# Whose note ends so, by chance in one run of ten thousand millions not.
def is_pi(said, trials):
    pi = float(said["note"].rpartition("pi is about ")[2])
    assert abs(pi - math.pi) < 6.5 * 1.642 / math.sqrt(trials), said
END_OF_SCRIPTS

# python NAME: a test, which is skipped where a module is missing. The program is on stdin.
python() {
    mkdir -p "$work/folder"
    { echo "from scripts import *" && cat; } >"$work/program.py"
    TMPDIR=$work PYTHONPATH=$work timeout 300 /usr/bin/python3 "$work/program.py" "$TINE" \
        "$bench" "$work/folder" >"$work/out" 2>&1
    code=$?
    if [ $code -eq 77 ]; then
        skip "$1" "$(cat "$work/out")"
        return
    fi
    [ $code -eq 0 ] || sed 's/^/# /' "$work/out"
    result $code "$1"
}

python "pi: a loop, a pool and joblib" <<'END'
for way, workers in sample(2, (("one", 2), ("pool", 2), ("pool", 3), ("joblib", 2))):
    is_pi(run("pi", way, 100001, wanted=["note"], workers=workers), 100001)
END

python "vectors: all at once, or in blocks" <<'END'
for way in sample(1, ("numpy", "blocks")):
    is_pi(run("vectors", way, 100001, wanted=["note"]), 100001)
END

python "cache: cold computes, warm finds" <<'END'
made = run_with((), "cache", "warm", 100001)
if made["left_out"] == "python3 has no joblib":
    print(made["left_out"])
    sys.exit(77)
assert made["left_out"] == "0 of 2 results were in the cache", made
cold = run("cache", "cold", 100001, wanted=["note"])
assert cold["note"].startswith("0 of 2 "), cold
is_pi(cold, 100001)
warm = run("cache", "warm", 100001, wanted=["note"])
assert warm["note"] == cold["note"].replace("0 of", "2 of"), (cold, warm)
END

python "streams: one for all, or one for each" <<'END'
for way, streams in ("same", 1), ("own", 16):
    for workers in sample(1, (2, 5)):
        said = run("streams", way, 1600000, wanted=["note", "estimates"], workers=workers)
        assert len(said["estimates"]) == 16, said
        assert said["note"].startswith(f"{streams} different "), said
        # Two of their own may count the same by chance.
        assert 0.75 * streams <= len(set(said["estimates"])) <= streams, said
        assert all(abs(pi - math.pi) < 0.05 for pi in said["estimates"]), said
        is_pi(said, 1600000 / 16 * streams)
END

python "primes: the count" <<'END'
for way in "loop", "queue", "manager":
    for first, last, count in (0, 2000, 303), (2, 1999, 302), (9, 9, 0):
        said = run("primes", way, first, last, wanted=["answer"], workers=3)
        assert said["answer"] == count, (way, first, said)
END

python "check: the sum of the primes" <<'END'
# Small ones, and squares and products of primes, of which the last range has the divisor.
primes = [2, 3, 5, 7, 19, 23, 397, 401, 443, 1000000007]
others = [0, 1, 4, 6, 9, 15, 21, 25, 361, 437, 441, 529, 1000006000009, 1022117 * 1022127]
for way in "serial", "naive", "less", "manager", "mmap":
    look = ["look"] if way in ("manager", "mmap") else []
    for workers in sample(1, (2, 3)) if look else (2,):
        said = run("check", way, *others, *primes, wanted=["answer", *look], workers=workers)
        assert said["answer"] == sum(primes), (way, said)
        assert not look or 0 < said["look"] < 1, said
END

python "check: each flag is looked at, and put up" <<'END'
sys.path.insert(0, f"{bench}/python")
import check

class Flag:
    looks, put = 0, 0
    @property
    def value(self):
        self.looks += 1
        return self.looks == 5
    @value.setter
    def value(self, value):
        self.put = value

flag = Flag()
assert not check.has_none_or_stops(10**18 + 9, 3, 10**9, flag)
assert flag.looks == 5 and not flag.put
flag = Flag()
assert not check.has_none_or_stops(1009 * 1013, 3, 1010, flag) and flag.put
flag = Flag()
assert check.has_none_or_stops(100003, 3, 317, flag) and flag.looks == 1 and not flag.put
# What one process puts up, another sees.
with check.ExitStack() as stack, check.Pool(1) as pool:
    for way in "manager", "mmap":
        flag = check.make_flag(way, folder, stack)
        assert not flag.value
        assert not pool.apply(check.has_none_or_stops, (9, 3, 4, flag)) and flag.value
        assert not pool.apply(check.has_none_or_stops, (101, 3, 11, flag))
END

python "kill: a pool that hangs, an executor that breaks" <<'END'
said = run("kill", "pool", 400000, wanted=["note", "died", "never"])
assert said["never"] is True, said
assert said["note"].startswith("it hangs: 15 of 16 jobs were done"), said
assert 0 < said["died"] < said["seconds"] - 3, said
said = run("kill", "executor", 400000, wanted=["note", "died", "never"])
assert said["never"] is True, said
assert said["note"].startswith("BrokenProcessPool: "), said
assert 1 <= int(said["note"].split()[1]) <= 15 and 0 < said["died"] < said["seconds"], said
END

python "without numpy and joblib they say so" <<'END'
# -S: without the folders of packages.
for script, way, missing in (("vectors", "numpy", "numpy"), ("streams", "own", "numpy"),
                             ("cache", "cold", "joblib"), ("pi", "joblib", "joblib")):
    said = run_with(["-S"], script, way, 100)
    assert said == {"left_out": f"python3 has no {missing}"}, said
assert "seconds" in run_with(["-S"], "pi", "pool", 100)
END

python "what bench/run calls is there" <<'END'
from importlib.machinery import SourceFileLoader
loader = SourceFileLoader("bench_run", f"{bench}/run")
spec = importlib.util.spec_from_loader("bench_run", loader)
runner = sys.modules["bench_run"] = importlib.util.module_from_spec(spec)
loader.exec_module(runner)
for benchmark in runner.BENCHMARKS:
    for contender in benchmark.contenders:
        for word in contender.command.split():
            path = word.format(build="/nowhere", bench=bench, site="/nowhere")
            if path.startswith(bench):
                assert os.access(path, os.X_OK), (benchmark.name, path)
END

python "bench/run leaves out a package for Python that is older than its sources" <<'END'
from importlib.machinery import SourceFileLoader
from pathlib import Path
loader = SourceFileLoader("bench_run", f"{bench}/run")
spec = importlib.util.spec_from_loader("bench_run", loader)
runner = sys.modules["bench_run"] = importlib.util.module_from_spec(spec)
loader.exec_module(runner)
with tempfile.TemporaryDirectory() as folder:
    site, logs = Path(folder) / "site", Path(folder) / "meson-logs"
    assert not runner.is_stale(site)
    logs.mkdir()
    (logs / "install-log.txt").touch()
    os.utime(logs / "install-log.txt", (1, 1))
    assert runner.is_stale(site)
    os.utime(logs / "install-log.txt", (1 << 33, 1 << 33))
    assert not runner.is_stale(site)
END

python "the tour runs them, and compares their answers" <<'END'
done = subprocess.run([sys.argv[1], "tour", "--quick", "--python", "-j", "2", "--json", "-",
                       "streams", "check"], capture_output=True, text=True)
assert done.returncode == 0, (done.stdout, done.stderr)
ran = [each for lesson in json.loads(done.stdout)["lessons"]
       for each in lesson["programs"] if each["python"]]
assert len(ran) >= 4, ran
for each in ran:
    assert not each["failed"] and (each["left_out"] or each["seconds"] > 0), each
END

python "they end with the tour, by any death" <<'END'
import signal
from family import start

def arguments(pid):
    try:
        return open(f"/proc/{pid}/cmdline", errors="replace").read().split("\0")
    except OSError:
        return []

# Those of Python in the group of the tour.
def scripts(leader):
    return [pid for pid in members(leader)
            if any(word.endswith("/kill.py") for word in arguments(pid))]

def left():
    return [name for name in os.listdir(os.environ["TMPDIR"]) if name.startswith("tine-")]

for number in sample(1, (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)):
    tour = start("tour", "--quick", "--python", "-j", "2", "kill")
    begun = time.time()
    # The programs in C come first.
    while len(scripts(tour.pid)) < 3:
        assert tour.poll() is None and time.time() - begun < 200, tour.communicate()
        time.sleep(0.01)
    tour.send_signal(number)
    tour.communicate(timeout=60)
    begun = time.time()
    while members(tour.pid):
        assert time.time() - begun < 30, [arguments(pid) for pid in members(tour.pid)]
        time.sleep(0.01)
    assert number == signal.SIGKILL or not left(), left()
    for name in left():
        shutil.rmtree(os.environ["TMPDIR"] + "/" + name)
END

plan
