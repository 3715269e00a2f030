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
import json, os, signal, struct, subprocess, sys, time

tine, scene = sys.argv[1:3]

class Scene:
    def __init__(self):
        self.run = subprocess.Popen([scene], text=True, stdin=subprocess.PIPE,
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
        made = subprocess.run([tine, "inspect", "--json", str(pid or self.main)],
                              capture_output=True, text=True, timeout=60)
        assert made.returncode == 0 and made.stderr == "", made
        return json.loads(made.stdout)

    # The first look that is so; processes go to sleep when they are let.
    def await_look(self, is_so):
        begun = time.time()
        while not is_so(seen := self.look()):
            assert time.time() - begun < 60, seen
            time.sleep(0.02)
        return seen

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
END

# scene NAME PROGRAM
scene() {
    PYTHONPATH=$work timeout 300 /usr/bin/python3 -c "from scenes import *
$2" "$TINE" "$BUILD/test/inspect-scene" >"$work/log-of-scene" 2>&1
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
seen = scene.await_look(lambda seen: at(seen["locks"], scene.lock)["state"] == "stopped")
assert at(seen["queues"], scene.queue)["leases"][0]["state"] == "stopped", seen
# Nobody is to learn of the death meanwhile.
os.kill(scene.waiter, signal.SIGSTOP)
scene.await_look(lambda seen: [each for each in seen["processes"]
                               if each["pid"] == scene.waiter and each["state"] == "stopped"])
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
scene.await_look(lambda seen: still <= {each["pid"] for each in seen["processes"]
                                        if each["state"] == "stopped"})
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
def look():
    made = subprocess.run([tine, "inspect", "--json", kept], capture_output=True, text=True)
    assert made.returncode == 0, made
    return json.loads(made.stdout)
begun = time.time()
while not os.path.isdir(kept):
    assert time.time() - begun < 60
    time.sleep(0.01)
while True:
    locks = [lock for process in look()["processes"] for file in process["files"]
             for lock in file["locks"] if lock["for"] == "result" and process["pid"] == run.pid]
    if locks:
        break
    assert time.time() - begun < 60 and run.poll() is None, look()
    time.sleep(0.02)
assert not locks[0]["shared"], locks
os.kill(run.pid, signal.SIGTERM)
run.wait(60)
assert not look()["processes"]
'
plan
