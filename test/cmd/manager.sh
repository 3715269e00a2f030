#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

bad=0
complains "'x'" manager x || bad=1
complains "--at" manager --at= || bad=1
complains "'$work' is there" manager --at "$work" || bad=1
complains "'/nowhere/socket'" manager --at /nowhere/socket || bad=1
complains "more than 107 bytes" manager --at "$work/$(printf '%0107d' 0)" || bad=1
result $bad "bad input is named, with exit code 2"

PATH=/nowhere runs 3 manager && grep -q 'no redis-server' "$work/err"
result $? "no redis-server"

if ! command -v redis-server >/dev/null; then
    skip "a server that serves" "no redis-server"
    plan
    exit
fi

cat >"$work/server.py" <<'END'
import json, os, signal, socket, stat, subprocess, sys, time, urllib.parse

tine = sys.argv[1]
work = sys.argv[2]

class Manager:
    def __init__(self, *words, **how):
        self.command = subprocess.Popen([tine, "manager", "--json", *words], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
        self.heed(self.command.stdout.readline())

    def heed(self, line):
        made = json.loads(line)
        self.url, self.pid = made["url"], made["pid"]
        path, _, self.password = self.url.removeprefix("unix:").partition("?password=")
        self.path = urllib.parse.unquote(path)

    def ask(self, *commands):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30)
            line.connect(self.path)
            line.sendall("".join(f"{command}\r\n" for command in commands).encode())
            answers = line.makefile("rb")
            return [answers.readline().decode().strip() for _ in commands]

    def works(self):
        said = self.ask(f"AUTH {self.password}", "SET key 7", "INCR key")
        assert said == ["+OK", "+OK", ":8"], said

    def ends(self):
        begun = time.time()
        while os.path.lexists(self.path) or alive(self.pid):
            assert time.time() - begun < 30, (self.path, self.pid)
            time.sleep(0.01)

def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, ProcessLookupError):
        return False
END

# python PROGRAM ARGUMENT...: with the class above.
python() {
    program=$1
    shift
    PYTHONPATH=$work TMPDIR=$work timeout 300 /usr/bin/python3 -c "from server import *
$program" "$TINE" "$work" "$@" || return 1
    for left in "$work"/tine-* "$work"/socket*; do
        [ ! -e "$left" ] || { echo "# it left $left" && return 1; }
    done
}

python '
for where in "socket", "socket of 100 % & more?":
    manager = Manager("--at", f"{work}/{where}")
    assert manager.path == f"{work}/{where}", manager.url
    assert stat.S_IMODE(os.lstat(manager.path).st_mode) == 0o600
    manager.works()
    assert manager.ask("GET key")[0].startswith("-NOAUTH")
    assert manager.ask("AUTH wrong")[0].startswith("-WRONGPASS")
    for pid in manager.pid, manager.command.pid:
        said = open(f"/proc/{pid}/cmdline", errors="replace").read() + open(f"/proc/{pid}/environ", errors="replace").read()
        assert manager.password not in said
    said = manager.ask(f"AUTH {manager.password}", "SAVE")
    assert said[1].startswith("-"), said
    manager.command.terminate()
    assert manager.command.wait(30) == -signal.SIGTERM
    manager.ends()
'
result $? "it serves at a path, with a password, without a disk"

python '
manager = Manager()
assert stat.S_IMODE(os.lstat(os.path.dirname(manager.path)).st_mode) == 0o700
manager.works()
# All it listens to is the socket.
ports = [line.split()[9] for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}")
         if line.split()[3] == "0A"]
mine = [os.readlink(f"/proc/{manager.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{manager.pid}/fd")]
assert not [port for port in ports if f"socket:[{port}]" in mine], mine
manager.command.send_signal(signal.SIGINT)
assert manager.command.wait(30) == -signal.SIGINT
manager.ends()
'
result $? "it serves in a folder of its own"

python '
for number in signal.SIGKILL, signal.SIGTERM, signal.SIGHUP:
    for where in (), ("--at", f"{work}/socket"):
        manager = Manager(*where, preexec_fn=lambda: os.setpgid(0, 0))
        manager.works()
        os.killpg(manager.command.pid, number)
        assert manager.command.wait(30) == -number
        manager.ends()
'
result $? "it ends by any signal, and leaves nothing"

# Its parent is a shell, which says the URL and then is killed.
python '
for number in signal.SIGKILL, signal.SIGTERM:
    shell = subprocess.Popen(["sh", "-c", f"{tine} manager --json; :"], text=True,
                             stdout=subprocess.PIPE)
    manager = object.__new__(Manager)
    manager.heed(shell.stdout.readline())
    manager.works()
    shell.send_signal(number)
    assert shell.wait(30) == -number
    manager.ends()
'
result $? "it ends with its parent"

# With its keeper, which is the parent of the server.
python '
at = f"{work}/socket"
manager = Manager("--at", at)
keeper = int(open(f"/proc/{manager.pid}/stat").read().rpartition(")")[2].split()[1])
os.kill(keeper, signal.SIGSTOP)
os.kill(manager.command.pid, signal.SIGKILL)
os.kill(keeper, signal.SIGKILL)
manager.command.wait(30)
begun = time.time()
while True:
    assert time.time() - begun < 30
    try: manager.ask("PING")
    except ConnectionRefusedError: break
    except OSError: pass
assert os.path.lexists(at)
manager = Manager("--at", at)
manager.works()
second = subprocess.run([tine, "manager", "--at", at], capture_output=True, text=True)
assert second.returncode == 2 and "is there already" in second.stderr, second
manager.works()
manager.command.terminate()
manager.command.wait(30)
manager.ends()
'
result $? "it takes the place of one that was killed, and of no other"

python '
manager = Manager()
os.kill(manager.pid, signal.SIGKILL)
out, err = manager.command.communicate(timeout=60)
assert manager.command.returncode == 3 and out == "", manager.command
assert err == "tine: manager: redis-server has ended\n", err
manager.ends()
'
result $? "it says that the server was killed"

"$TINE" manager >/dev/full 2>"$work/err"
[ $? -eq 3 ] && grep -q 'No space left' "$work/err"
result $? "a full disk ends it"
plan
