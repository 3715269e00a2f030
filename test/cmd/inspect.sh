#!/bin/sh
# SPDX-License-Identifier: MIT
# tine inspect and tine top, at a family in a known state, with processes that are stopped
# and killed.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

bad=0
complains "'nothing'" inspect nothing || bad=1
complains "no process and no folder" inspect "$TINE" || bad=1
complains "no process 2147483647" inspect 2147483647 || bad=1
complains "$$ has no memory of tine" inspect $$ || bad=1
complains "TARGET" inspect || bad=1
complains "PID" top || bad=1
complains "no process" top 2147483647 || bad=1
complains "--count" top -n 0 1 || bad=1
result $bad "bad input is named, with exit code 2"

export KEPT="$work/kept"
cat >"$work/scenes.py" <<'END'
import atexit, json, os, shutil, signal, struct, subprocess, sys, tempfile, time

tine, scene, folders = sys.argv[1:4]

# The object of a look, with which no other output came.
def inspect(target):
    made = subprocess.run([tine, "inspect", "--json", target], capture_output=True, timeout=60)
    assert made.returncode == 0 and made.stderr == b"", made
    return json.loads(made.stdout)

# The first look that is so; processes go to sleep when they are let.
def await_look(target, is_so):
    begun = time.time()
    while not is_so(seen := inspect(target)):
        assert time.time() - begun < 60, seen
        time.sleep(0.02)
    return seen

class Scene:
    def __init__(self, *command):
        self.run = subprocess.Popen(command or [scene], text=True, stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)
        self.named = {}
        for line in self.run.stdout:
            if line == "ready\n":
                break
            name, value = line.split()
            self.named[name] = value if value.startswith(("0x", "(")) else int(value)
        assert "main" in self.named, self.named

    def __getattr__(self, name):
        return self.named[name]

    def look(self, pid=None):
        return inspect(str(pid or self.main))

    def await_look(self, is_so):
        return await_look(str(self.main), is_so)

    def end(self):
        self.run.stdin.close()
        assert self.run.wait(60) == 0

def at(things, address):
    return [each for each in things if each["address"] == address][0]

def memory_of(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if os.readlink(path).startswith("/memfd:tine"):
            return path

def waits_of(seen, pid):
    return [each for each in seen["waits"] or [] if each["pid"] == pid]

def process_of(seen, pid):
    found, = [each for each in seen["processes"] if each["pid"] == pid]
    return found

def is_stopped(seen, pids):
    return set(pids) <= {each["pid"] for each in seen["processes"] if each["state"] == "stopped"}

# Does this kernel say when a thread last ran?
clocks = os.path.exists("/proc/self/sched")
END

# scene NAME PROGRAM
scene() {
    PYTHONPATH=$work timeout 300 /usr/bin/python3 -c "from scenes import *
$2" "$TINE" "$BUILD/test/inspect-scene" "$BUILD/test/inspect-folders" >"$work/log-of-scene" 2>&1
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/log-of-scene"
    result $code "$1"
}

scene "what each process does, holds and waits for" '
scene = Scene()
seen = scene.await_look(lambda seen: at(seen["locks"], scene.lock)["waited_for"] and
    [each for each in seen["pools"][0]["workers"] if each["doing"] == "submitted"])
assert seen["whole"]
pids = {each["pid"] for each in seen["processes"]}
assert {scene.main, scene.holder, scene.waiter, scene.consumer} <= pids, seen
lock = at(seen["locks"], scene.lock)
assert lock["holder"] == lock["thread"] == scene.holder and not lock["holder_died"], lock
queue = at(seen["queues"], scene.queue)
assert (queue["messages"], queue["capacity"], queue["taken"]) == (2, 8, 1), queue
lease, = queue["leases"]
assert lease["pid"] == scene.holder and lease["position"] == 0, lease
assert 0 <= lease["since_ms"] and lease["left_ms"] <= 600000, lease
pool, = seen["pools"]
assert pool["owner"] == scene.main and len(pool["workers"]) == 2, pool
assert pool["submitted"]["running"] == 1, pool
busy, = [each for each in pool["workers"] if each["doing"] != "idle"]
assert busy["job"] == 1 and busy["since_ms"] >= 0, busy
if seen["waits"] is not None:
    seen = scene.await_look(lambda seen: waits_of(seen, scene.waiter) and
                                         waits_of(seen, scene.consumer))
    wait, = waits_of(seen, scene.waiter)
    assert (wait["for"], wait["object"], wait["holder"]) == ("a lock", scene.lock, scene.holder)
    wait, = waits_of(seen, scene.consumer)
    assert (wait["for"], wait["object"]) == ("a message", scene.empty), wait
    seen = scene.await_look(lambda seen: [each for each in waits_of(seen, scene.patient)
                                          if each.get("holders") == [scene.holder]])
    for pid, what, where in ((scene.contender, "a mutex", scene.mutex),
                             (scene.reader, "a lock to read", scene.rwlock),
                             (scene.writer, "a lock to write", scene.rwlock)):
        seen = scene.await_look(lambda seen: waits_of(seen, pid) and
                                             waits_of(seen, pid)[0]["for"] == what)
        wait, = waits_of(seen, pid)
        assert (wait["object"], wait["holder"]) == (where, scene.holder), wait
hold, = seen["holds"]
assert hold["pid"] == scene.holder and hold["count"] == 1, hold
assert 0 <= int(hold["object"], 16) - int(scene.sem, 16) < 128, hold
# Any process of the family will do.
assert scene.look(busy["pid"])["family"] == seen["family"]
scene.end()
'

scene "of a holder that is stopped, and of one that is killed" '
scene = Scene()
os.kill(scene.holder, signal.SIGSTOP)
# What is looked at first may be of before.
seen = scene.await_look(lambda seen: is_stopped(seen, [scene.holder]))
assert at(seen["locks"], scene.lock)["state"] == "stopped", seen
assert at(seen["queues"], scene.queue)["leases"][0]["state"] == "stopped", seen
assert ("stopped_ms" in process_of(seen, scene.holder)) == clocks, seen
assert "stopped_ms" not in process_of(seen, scene.main), seen
# Nobody is to learn of the death meanwhile.
os.kill(scene.waiter, signal.SIGSTOP)
scene.await_look(lambda seen: is_stopped(seen, [scene.waiter]))
os.kill(scene.holder, signal.SIGKILL)
seen = scene.await_look(lambda seen: at(seen["locks"], scene.lock)["holder_died"])
assert at(seen["locks"], scene.lock).get("holder", 0) == 0, seen
os.kill(scene.waiter, signal.SIGCONT)
# Which has the lock then, and ends.
scene.await_look(lambda seen: not [each for each in seen["processes"]
                                   if each["pid"] == scene.waiter])
scene.end()
'

scene "a look writes nothing, and commits no page" '
scene = Scene()
still = {scene.main, scene.holder, scene.waiter, scene.consumer, scene.patient,
         scene.contender, scene.reader, scene.writer}
for pid in still:
    os.kill(pid, signal.SIGSTOP)
scene.await_look(lambda seen: is_stopped(seen, still))
# Workers and nursery are idle, and write no more than when they last looked at the time.
def state():
    with open(memory_of(scene.main), "rb") as file:
        return os.stat(file.fileno()).st_blocks
before = state()
for _ in range(3):
    scene.look()
assert state() == before
os.kill(scene.main, signal.SIGCONT)
scene.end()
'

scene "memory of another version, and damaged memory" '
scene = Scene()
with open(memory_of(scene.main), "rb") as file:
    head = bytearray(file.read(56))
def refused(head, why):
    copy = os.memfd_create("tine")
    os.truncate(copy, struct.unpack_from("=Q", head, 40)[0])
    os.pwrite(copy, head, 0)
    made = subprocess.run([tine, "inspect", str(os.getpid())], capture_output=True,
                          text=True, timeout=60)
    os.close(copy)
    assert made.returncode == 3 and why in made.stderr and not made.stdout, made
other = bytearray(head)
other[8] ^= 1
refused(other, "another version of tine")
other = bytearray(head)
other[16] ^= 1
refused(other, "is damaged")
scene.end()
'

scene "tine top" '
scene = Scene()
made = subprocess.run([tine, "top", "-n", "2", "--json", str(scene.main)],
                      capture_output=True, text=True, timeout=60)
assert made.returncode == 0, made
first, second = map(json.loads, made.stdout.splitlines())
assert "jobs_per_second" not in first["pools"][0]
assert second["pools"][0]["jobs_per_second"] == 0
assert all("messages_per_second" in each for each in second["queues"]), second
busy, = [each for each in second["pools"][0]["workers"] if each["doing"] != "idle"]
assert busy["seen_ms"] >= 900, busy
made = subprocess.run([tine, "top", "-n", "1", str(scene.main)], capture_output=True,
                      text=True, timeout=60)
assert made.returncode == 0 and scene.queue in made.stdout and "\033" not in made.stdout
# It was at the processors where others had run.
made = subprocess.Popen([tine, "top", "--json", str(scene.main)], stdout=subprocess.PIPE)
json.loads(made.stdout.readline())
assert os.sched_getaffinity(made.pid) == os.sched_getaffinity(0)
made.kill()
made.communicate()
# It ends with the process.
top = subprocess.Popen([tine, "top", str(scene.main)], stdout=subprocess.PIPE)
top.stdout.readline()
scene.end()
assert top.communicate(timeout=60) and top.returncode == 0, top
'

# Of which the one that computes holds the turn of a result.
scene "a folder, and the process that computes in it" '
kept = os.environ["KEPT"]
run = subprocess.Popen([tine, "map", "--cache", kept, "-j", "1", "sh", "-c", "echo begun >&2; sleep 600", ":::", "1"],
                       stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
begun = time.time()
while not os.path.isdir(kept):
    assert time.time() - begun < 60
    time.sleep(0.01)
while True:
    locks = [lock for process in inspect(kept)["processes"] for file in process["files"]
             for lock in file["locks"] if lock["for"] == "result" and process["pid"] == run.pid]
    if locks:
        break
    assert time.time() - begun < 60 and run.poll() is None, inspect(kept)
    time.sleep(0.02)
assert not locks[0]["shared"], locks
os.kill(run.pid, signal.SIGTERM)
run.wait(60)
assert not inspect(kept)["processes"]
'

scene "who waits for whom in a folder, of any name" '
place = os.environ["KEPT"].encode() + b"-a\nb\\012 \x1b[31m\xff\xc2\x9b\"{}"
os.mkdir(place)
scene = Scene(folders, place)
def folder(name):
    return os.path.join(place, name.encode())
def sleeping(name, pid, what, **more):
    seen = await_look(folder(name), lambda seen: seen["waits"] is None or
                      [each for each in waits_of(seen, pid) if each["for"] == what])
    for each in waits_of(seen, pid):
        assert each["thread"] == pid, each
        # One that looks again may be at another processor meanwhile.
        assert each["timed"] or ("asleep_ms" in each) == clocks, each
        assert more.items() <= each.items(), (each, more)
    return seen
seen = sleeping("cache", scene.follower, "result", file="lock", shared=False, timed=False,
                holder=scene.computer, holder_state="sleeping")
byte, = [lock["byte"] for file in process_of(seen, scene.computer)["files"]
         for lock in file["locks"]]
assert all(each["byte"] == byte for each in seen["waits"] or []), seen
assert seen["locks"] == [], seen
seen = sleeping("files", scene.alone, "bytes", file="a", byte=0, shared=False,
                holders=[scene.sharer, scene.other])
if "watcher" in scene.named:
    seen = sleeping("store", scene.setter, "writing", file="tine.wake", timed=True,
                    holder=scene.writer)
    if seen["waits"] is not None:
        lock, = seen["locks"]
        assert lock["for"] == "writing", lock
        assert lock["holder"] == lock["thread"] == scene.writer, lock
        assert lock["offset"] == waits_of(seen, scene.setter)[0]["offset"], seen
        assert lock["waited_for"] and not lock["holder_died"], lock
    seen = sleeping("store", scene.watcher, "a change of a key", file="tine.wake", timed=True)
    assert not [each for each in waits_of(seen, scene.watcher) if "holder" in each], seen
# The same of the family, without the holder.
for each in waits_of(scene.look(), scene.alone):
    assert each["for"] == "a file" and each["file"].endswith("/files/a") and each["byte"] == 0, each
made = subprocess.run([tine, "inspect", folder("cache")], capture_output=True, timeout=60)
assert made.returncode == 0 and made.stderr == b"", made
assert not [bad for bad in (b"\x1b", b"\xff", b"\xc2\x9b") if bad in made.stdout], made
assert b"a?b" in made.stdout and b"lock of result" in made.stdout, made
scene.end()
'

scene "a look at a folder writes nothing, and wakes nobody" '
place = os.environ["KEPT"] + "-still"
os.mkdir(place)
scene = Scene(folders, place)
def switches(pid):
    return [line for line in open(f"/proc/{pid}/status") if "ctxt_switches" in line]
still = {pid for pid in scene.named.values() if pid not in (scene.follower, scene.alone)}
for pid in still:
    os.kill(pid, signal.SIGSTOP)
await_look(place, lambda seen: is_stopped(seen, still) and
           (seen["waits"] is None or len(seen["waits"]) >= 2))
def state():
    files = [os.path.join(at, name) for at, _, names in os.walk(place) for name in names]
    return ([(name, os.stat(name)) for name in sorted(files)],
            [switches(pid) for pid in scene.named.values()])
before = state()
for name in ("cache", "store", "files", "."):
    if os.path.isdir(os.path.join(place, name)):
        inspect(os.path.join(place, name))
assert state() == before, (before, state())
for pid in still:
    os.kill(pid, signal.SIGCONT)
scene.end()
'

# A clock of each processor: that of another one would say more, or nothing.
scene "since when a process is stopped, wherever it ran" '
place = os.environ["KEPT"] + "-clocks"
os.mkdir(place)
children = []
begun = time.monotonic()
for processor in sorted(os.sched_getaffinity(0))[:16]:
    child = subprocess.Popen(["sleep", "600"], stdin=open(f"{place}/file", "w"),
                             preexec_fn=lambda: os.sched_setaffinity(0, {processor}))
    os.kill(child.pid, signal.SIGSTOP)
    children.append(child)
await_look(place, lambda seen: is_stopped(seen, [child.pid for child in children]))
time.sleep(1)
seen = inspect(place)
# No other clock, but one that no server keeps exact.
most = (time.monotonic() - begun) * 1010 + 2
for child in children:
    process = process_of(seen, child.pid)
    assert not clocks or 100 <= process["stopped_ms"] <= most, (process, most)
    child.kill()
    child.wait()
'

scene "processes that end during the look, with names that end nothing" '
place = os.environ["KEPT"] + "-ends"
os.mkdir(place)
open(f"{place}/file", "w").close()
code = """
import os, sys
open("/proc/self/comm", "w").write(sys.argv[2])
file = open(sys.argv[1] + "/file")
while True:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
"""
names = ("\nse.exec_start:1", ") Z 1 1 (\x1b[2J")
runs = [subprocess.Popen([sys.executable, "-c", code, place, name]) for name in names]
await_look(place, lambda seen: {run.pid for run in runs} <=
                               {each["pid"] for each in seen["processes"]})
for _ in range(10):
    inspect(place)
for run in runs:
    os.kill(run.pid, signal.SIGSTOP)
seen = await_look(place, lambda seen: is_stopped(seen, [run.pid for run in runs]))
for run, name in zip(runs, ("?se.exec_start:1"[:15], ") Z 1 1 (?[2J")):
    process = process_of(seen, run.pid)
    assert process["name"] == name and process["parent"] == os.getpid(), process
    assert not clocks or process["stopped_ms"] < 60000, process
    run.kill()
    run.wait()
'

if [ "$(id -u)" -eq 0 ] && unshare --pid --fork true 2>/dev/null; then
    scene "of other users, and in other PID namespaces" '
# Others may not come by the folder of this test, nor by that of the command.
place = tempfile.mkdtemp(prefix="tine-test-", dir="/tmp")
atexit.register(shutil.rmtree, place)
scene = Scene("unshare", "--pid", "--fork", "--kill-child", folders, place)
# What they are called here.
def is_called(pid, there):
    return f"NSpid:\t{pid}\t{there}\n" in open(f"/proc/{pid}/status").read()
def here(pid):
    found, = [each["pid"] for each in inspect(place)["processes"]
              if is_called(each["pid"], pid)]
    return found
follower, computer = here(scene.follower), here(scene.computer)
seen = await_look(f"{place}/cache", lambda seen: waits_of(seen, follower))
assert waits_of(seen, follower)[0]["holder"] == computer, seen
if "watcher" in scene.named:
    setter = here(scene.setter)
    seen = await_look(f"{place}/store", lambda seen: waits_of(seen, setter))
    assert "holder" not in waits_of(seen, setter)[0] and seen["locks"] == [], seen
os.chmod(place, 0o755)
tine = shutil.copy(tine, place)
made = subprocess.run([tine, "inspect", "--json", place], capture_output=True, timeout=60,
                      user=65534, group=65534, extra_groups=[])
assert made.returncode == 0 and json.loads(made.stdout)["processes"] == [], made
made = subprocess.run([tine, "inspect", str(os.getpid())], capture_output=True, timeout=60,
                      user=65534, group=65534, extra_groups=[])
assert made.returncode == 2, made
scene.end()
'
else
    skip "of other users, and in other PID namespaces" "not root"
fi
plan
