#!/bin/sh
# SPDX-License-Identifier: MIT
# tine map: whatever ends it, or is wrong around it, nothing is left and nothing hangs.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

unset TINE_WORKERS TINE_TRACE MAKEFLAGS MAKELEVEL
mapping
cat >>"$work/mapping.py" <<'END'
# Whether the kernel tells which signal it was.
def tells():
    stopped = subprocess.Popen(["sleep", "60"])
    stopped.send_signal(signal.SIGSTOP)
    wait_for(lambda: " T " in open(f"/proc/{stopped.pid}/stat").read())
    tells = open(f"/proc/{stopped.pid}/stat").read().split()[51] == str(int(signal.SIGSTOP))
    stopped.kill()
    stopped.wait()
    return tells

# A run in whose folder small there is 1 MiB; None: this user cannot.
def on_small_disk(*words, env={}):
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        return None
    os.makedirs("small", exist_ok=True)
    return subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs small && exec \"$@\"", "sh",
                           tine, *words], capture_output=True, timeout=60, text=True, env={**os.environ, **env})

# A run of jobs that sleep, each with a child that has left its group and ignores SIGTERM.
def sleepers(n, *options, script="", begun=4, **more):
    line = f"sleep {mark(n)}"
    made = subprocess.Popen([tine, "map", "-j", "2", *options, "-c", f"""{script}
setsid sh -c 'trap "" TERM; {line}; :' & {line}""", ":::", "a", "b", "c"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, preexec_fn=lambda: (os.setpgid(0, 0),
                            [signal.signal(number, signal.SIG_DFL) for number in (1, 2, 15)]), **more)
    wait_for(lambda: len(processes(line)) >= begun or made.poll() is not None)
    assert made.poll() is None, made.communicate()
    return made, lambda: processes(line)

def keeper_of(pid):
    for name in os.listdir("/proc"):
        try:
            stat = open(f"/proc/{name}/stat").read() if name.isdigit() else ""
        except OSError:
            continue
        if "(tine-keeper)" in stat and stat.rpartition(")")[2].split()[1] == str(pid):
            return int(name)
END
cd "$work" || exit 1

try "kill -9 of tine" '
made, left = sleepers(1)
made.kill()
assert made.wait(60) == -9
wait_for(lambda: not left())
'
try "kill -9 of the keeper: jobs end, and with 3" '
made, left = sleepers(2)
os.kill(keeper_of(made.pid), 9)
assert made.wait(60) == 3
assert not left(), left()
assert made.communicate() == ("", "tine: map: the keeper of its processes was killed\n")
'
(
    trap - INT HUP TERM
    try "INT, TERM and HUP end all, and are raised again" '
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
    made, left = sleepers(10 + number)
    (os.killpg if number == signal.SIGINT else os.kill)(made.pid, number)
    assert made.wait(60) == -number, made.returncode
    assert not left(), left()
    assert made.communicate() == ("", "")
'
    try "a job may end its work on a signal; one that ignores it is killed" '
made, left = sleepers(3, script="trap \"sleep 0.2; echo tidied >>tidy; exit\" TERM; [ $1 = a ] || trap \"\" TERM")
os.kill(made.pid, signal.SIGTERM)
assert made.wait(60) == -signal.SIGTERM and not left(), left()
assert open("tidy").read() == "tidied\n"
'
    try "a second signal kills at once" '
made, left = sleepers(4, script="trap \"\" TERM")
os.kill(made.pid, signal.SIGINT)
begun = time.time()
wait_for(lambda: open(f"/proc/{made.pid}/status").read().find("State:\tZ") < 0)
os.kill(made.pid, signal.SIGINT)
assert made.wait(60) == -signal.SIGINT and not left(), left()
'
    echo "$tests" >"$work/tests"
)
tests=$(cat "$work/tests")
try "what is ignored stays so" '
made = subprocess.Popen([tine, "map", "-c", "echo >begun; sleep 0.3; echo done", ":::", "a"], text=True,
                        stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
wait_for(lambda: os.path.exists("begun"))
os.kill(made.pid, signal.SIGHUP)
assert made.communicate()[0] == "done\n" and made.returncode == 0, made.returncode
'
try "a full disk ends it, with 3 and a line" '
for stream, name in ("stdout", "output"), ("stderr", "error"):
    with open("/dev/full", "w") as full:
        made = subprocess.run([tine, "map", "-j", "2", "-c", "echo x; echo y >&2; sleep $NAP", ":::", *"abcd"],
                              **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}, timeout=60, text=True)
    assert made.returncode == 3, made
    if stream == "stdout":
        assert made.stderr.endswith("tine: map: standard output: No space left on device\n"), made
    assert not processes(f"sleep {nap}")
'
try "a full log ends it, with 3 and a line" '
code, out, err = run("--log", "/dev/full", "true", ":::", *"abc")
assert code == 3 and err == "tine: map: --log: '"'/dev/full'"': No space left on device\n", (code, err)
'
try "no room for output that waits: 3 and a line" '
words = ["map", "-j", "2", "-c", "[ $1 = 1 ] && sleep $NAP; head -c 20000000 /dev/zero; sleep $NAP", ":::", "1", "2"]
made = on_small_disk(*words, env={"TMPDIR": "small"})
if made:
    assert made.returncode == 3 and not made.stdout, made
    assert made.stderr.endswith("small: No space left on device\n") and made.stderr.count("\n") == 1, made.stderr
code, out, err = run(*words[1:], env={"TMPDIR": "/no/such/folder"})
assert code == 3 and err == "tine: map: output that waits, in /no/such/folder: No such file or directory\n", err
assert not processes(f"sleep {nap}")
'
try "no room for files of --results, and a folder that takes none: 3 and a line" '
words = ["-j", "2", "--cache", "kept", "-c", "head -c 2000000 /dev/zero; sleep ${NAP_OR-0}", ":::", "1", "2"]
ended = "tine: map: --results: '"'small/r'"': No space left on device\n"
made = on_small_disk("map", "--results", "small/r", *words, env={"NAP_OR": nap})
assert not made or (made.returncode, made.stderr) == (3, ended), made.stderr
assert not processes(f"sleep {nap}")
# Nor for a kept result, which is kept as it was.
assert run(*words)[0] == 0
made = on_small_disk("map", "--results", "small/r", *words)
assert not made or (made.returncode, made.stderr) == (3, ended), made.stderr
assert run("--dry-run", *words)[1].count("# kept") == 2
os.makedirs("taken/000001/stdout")
code, out, err = run("--results", "taken", "echo", ":::", "a", "b")
assert code == 3 and err == "tine: map: --results: '"'taken'"': Is a directory\n", err
os.rmdir("taken/000001/stdout")
os.mkfifo("taken/000001/stdout")
code, out, err = run("--results", "taken", "echo", ":::", "a", "b")
assert code == 3 and err == "tine: map: --results: '"'taken'"': No such device or address\n", err
'
try "a limit on the size of files is as a full disk, but not for jobs" '
import resource
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
code, out, err = run("-j", "2", "-c", "[ $1 = 1 ] && sleep $NAP; head -c 20000000 /dev/zero", ":::", "1", "2", preexec_fn=limit)
assert code == 3 and err.endswith(": File too large\n") and err.count("\n") == 1, (code, err)
code, out, err = run("-c", "exec head -c 20000 /dev/zero >file", ":::", "1", preexec_fn=limit)
assert code == 1 and err.endswith("\n1: killed by SIGXFSZ\n"), (code, err)
'
try "standard input that does not block is waited for, and shared with others" '
for words in ["--columns", "csv", "echo", "{a}"], ["--dry-run", "echo"], ["echo"]:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    made = subprocess.Popen([tine, "map", *words], stdin=reads, stdout=subprocess.PIPE, text=True)
    os.close(reads)
    # It sleeps, though nothing is there yet.
    wait_for(lambda: all((time.sleep(0.01), open(f"/proc/{made.pid}/stat").read().split()[2])[1] == "S" for i in range(20)))
    os.write(writes, b"a\n1\n")
    os.close(writes)
    assert made.communicate()[0].endswith("1\n") and made.returncode == 0, words
# Each is told that there is a line, which one of them has; the other ends at a signal.
def state(made):
    return open(f"/proc/{made.pid}/stat").read().split()[2]
reads, writes = os.pipe()
for i in range(40):
    both = [subprocess.Popen([tine, "map", "-c", "echo $1 >>shared"], stdin=reads) for i in (0, 1)]
    for one in both:
        wait_for(lambda: state(one) == "S")
        one.send_signal(signal.SIGSTOP)
        wait_for(lambda: state(one) == "T")
    os.write(writes, b"x\n")
    for one in both:
        one.send_signal(signal.SIGCONT)
    wait_for(lambda: os.path.exists("shared") and os.path.getsize("shared") == 2 * i + 2)
    for one in both:
        one.send_signal(signal.SIGTERM)
    assert [one.wait(20) for one in both] == 2 * [-signal.SIGTERM]
'
try "a closed pipe is quiet, and ends the jobs" '
for ignored in False, True:
    reads, writes = os.pipe()
    made = subprocess.Popen([tine, "map", "-j", "2", "-c", "echo $1; sleep 0.1; echo $1; sleep $NAP", ":::", *"abcd"], stdout=writes,
                            stderr=subprocess.PIPE, text=True, restore_signals=not ignored)
    os.close(writes)
    assert os.read(reads, 2) == b"a\n"
    os.close(reads)
    assert made.wait(60) == (3 if ignored else -signal.SIGPIPE), made.returncode
    assert made.stderr.read() == "" and not processes(f"sleep {nap}")
'
try "a job that leaves a daemon behind holds up nobody" '
code, out, err = run("-j", "1", "-c", "echo $1; setsid sh -c \"trap \\\"\\\" TERM HUP; sleep $NAP; :\" & sleep 0.1", ":::", *"ab")
assert (code, out, err) == (0, "a\nb\n", "") and not processes(f"sleep {nap}"), (code, out, err)
# Nor one that writes without an end.
code, out, err = run("-j", "2", "-c", "yes $1$NAP & sleep 0.05", ":::", *"ab")
assert code == 0 and not processes(f"yes a{nap}") and not processes(f"yes b{nap}"), code
assert len(out) > 100000 and "b" not in out[:out.rindex("a")], len(out)
'
try "a reader that stops holds up no limit of time" '
made = subprocess.Popen([tine, "map", "-j", "2", "--timeout", "0.5", "--log", "log",
                         "-c", "echo $1; head -c 200000 /dev/zero; sleep $NAP", ":::", "a", "b", "c", "d"],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
wait_for(lambda: os.path.exists("log") and open("log").read().count("\n") == 4)
assert made.poll() is None
out, err = made.communicate()
assert made.returncode == 1 and b"4 of 4" in err, err
assert out.startswith(b"a\n") and len(out) > 200000, len(out)
'
try "with few descriptors fewer jobs run at a time" '
import resource
for most in 40, 24:
    code, out, err = run("-j", "30", "-c", "sleep 0.05; echo $1", text="".join(f"{i}\n" for i in range(30)),
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
    assert (code, out.split(), err) == (0, [str(i) for i in range(30)], ""), (code, out, err)
'
try "a job that wants the terminal is ended and named; one that was stopped is not" '
import pty
def on_terminal(*words, between=lambda: None):
    pid, ours = pty.fork()
    if pid == 0:
        os.execv(tine, ["tine", "map", "-j", "2", *words])
    between()
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()
code, text = on_terminal("-c", "read x </dev/tty; echo $x", ":::", "a", "b")
assert code == 1 and "a: stopped: it wants the terminal" in text, (code, text)
short = f"2.{os.getpid():07}"
def stop():
    wait_for(lambda: processes(f"sleep {short}"))
    for pid in processes(f"sleep {short}"):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    for pid in processes(f"sleep {short}"):
        os.kill(pid, signal.SIGCONT)
if tells():
    code, text = on_terminal("sleep", ":::", short, between=stop)
    assert code == 0 and text.count("is stopped by SIGSTOP") <= 1, (code, text)
'
try "without a terminal, too; and one that was stopped is named once" '
def alone(*words):
    return subprocess.Popen([tine, "map", *words], stderr=subprocess.PIPE, text=True, start_new_session=True)
made = alone("-j", "2", "-c", "kill -TTIN $$; exit 0", ":::", "a", "b")
assert made.communicate() == (None, "tine: map: 2 of 2 jobs failed\n" +
                              "".join(f"{c}: stopped: it wants the terminal\n" for c in "ab")), made
assert made.returncode == 1
# The first of its processes, and another.
for script in "echo $$ >pid; kill -STOP $$; exit 0", "sleep $NAP & echo $! >pid; kill -STOP $!; wait; exit 0":
    made = alone("-c", script, ":::", "a\tb")
    said = made.stderr.readline()
    pid = int(open("pid").read())
    assert said == f"tine: map: a?b: process {pid} is stopped by SIGSTOP, and waits for SIGCONT\n" or not tells(), said
    time.sleep(2.5)
    os.kill(pid, signal.SIGCONT)
    if "sleep" in script:
        os.kill(pid, signal.SIGTERM)
    assert made.communicate()[1] == "" and made.returncode == 0, made.returncode
# One that a tracer has stopped is the business of that.
open("traced.py", "w").write("""
import ctypes, os, signal, time
libc = ctypes.CDLL(None)
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, None, None)
    os.kill(os.getpid(), signal.SIGUSR1)
    os._exit(0)
while open(f"/proc/{pid}/stat").read().split()[2] != "t":
    time.sleep(0.01)
time.sleep(3.5)
assert os.waitpid(pid, 0)[1] == 0x7f | signal.SIGUSR1 << 8
os.kill(pid, signal.SIGKILL)
assert os.waitpid(pid, 0)[1] == signal.SIGKILL
""")
if tells():
    made = alone(sys.executable, "traced.py", ":::", "a")
    assert made.communicate()[1] == "" and made.returncode == 0
# Its time is that of a clock.
made = alone("--timeout", "6", "-c", "kill -STOP $$; exit 0", ":::", "a")
said = made.communicate()[1].splitlines()
assert made.returncode == 1 and len(said) == 3 and "is stopped" in said[0] and said[2] == "a: over 6 s", said
'
try "SIGTSTP, which Ctrl-Z sends, stops the jobs as well, and that time does not count" '
def stop(timeout, **more):
    open("pids", "w").close()
    made = subprocess.Popen([tine, "map", "-j", "2", "--timeout", timeout, "-c", "echo $$ >>pids; sleep 3; echo $1", ":::", "a", "b"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    wait_for(lambda: open("pids").read().count("\n") == 2)
    made.send_signal(signal.SIGTSTP)
    return made
made = stop("4", preexec_fn=lambda: os.setpgid(0, 0))
all_of_it = [made.pid, *map(int, open("pids").read().split())]
wait_for(lambda: all(open(f"/proc/{pid}/stat").read().split()[2] == "T" for pid in all_of_it))
time.sleep(4.5)
made.send_signal(signal.SIGCONT)
assert made.communicate() == ("a\nb\n", "") and made.returncode == 0, made.returncode
# Where there is nobody to continue it, a program is not stopped.
made = stop("100", start_new_session=True)
assert made.communicate() == ("a\nb\n", "") and made.returncode == 0, made.returncode
'
try "memory is bounded, whatever ended jobs have written behind one that runs" '
def most(script, inputs):
    made = subprocess.Popen([tine, "map", "-j", "2", "-c", script, ":::", *map(str, inputs)], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    used, size = 0, 0
    # Read at the end only: what is first waits for the last.
    wait_for(lambda: os.path.exists("go") or made.poll() is not None)
    used = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{made.pid}/status").read())[1])
    while part := made.stdout.read(1 << 20):
        size += len(part)
    assert made.wait(60) == 0
    os.unlink("go")
    return used, size
first = "if [ $1 = 1 ]; then until [ -e go ]; do sleep 0.05; done; fi; "
used, size = most(first + "printf %60000d 0; printf %60000d 0 >&2; [ $1 = 300 ] && : >go; :", range(1, 301))
assert used < 16 << 10 and size == 300 * 60000, (used, size)
used, size = most(first + "head -c 50000000 /dev/zero; : >go", range(1, 3))
assert used < 16 << 10 and size == 100000000, (used, size)
'
plan
