#!/bin/sh
# SPDX-License-Identifier: MIT
# tine map: inputs, words, order, ends. Its faults are in map_faults.sh.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

unset TINE_WORKERS TINE_TRACE MAKEFLAGS MAKELEVEL
mapping
cd "$work" || exit 1

try "each input is a job, and output is in their order" '
assert run("-j", "3", "-c", "sleep 0.$1; echo $1", text="4\n0\n2\n") == (0, "4\n0\n2\n", "")
assert run("printf", "%s", text="a\nb\nc") == (0, "abc", "")
assert run("echo", text="") == (0, "", "")
assert run("echo", "-", text="\n\n") == (0, "- \n- \n", "")
late = "if [ $1 = a ]; then until [ -e later ]; do sleep 0.02; done; sleep 0.3; fi; : >later; echo $1"
assert run("-j", "2", "-o", "done", "-c", late, text="a\nb\n")[1] == "b\na\n"
'
try "output of jobs is apart, and the two streams are as they were written" '
code, out, err = run("-j", "4", "-c", """for i in 1 2 3; do printf $1; sleep 0.01; echo $1; printf $1 >&2; sleep 0.01
echo $1 >&2; done""", text="a\nb\nc\nd\n")
assert out == err == "".join(2 * c + "\n" for c in "aaabbbcccddd"), (out, err)
# Behind a job that waits, pieces of both streams stay in the order of their writing.
done = subprocess.run([tine, "map", "-j", "2", "-c", """if [ $1 = 1 ]; then until [ -e go ]; do sleep 0.02; done; fi
for i in 1 2 3; do echo out$i; sleep 0.02; echo err$i >&2; sleep 0.02; done; : >go""", ":::", "1", "2"],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
assert done.stdout == 2 * "out1\nerr1\nout2\nerr2\nout3\nerr3\n", done.stdout
'
try "lines come as they are written, behind their input" '
code, out, err = run("-j", "2", "-o", "lines", "-c", """echo 1; if [ $1 = b ]; then : >ended; fi
until [ -e ended ]; do sleep 0.02; done; [ $1 = b ] || sleep 0.3; printf 2; echo e >&2""", ":::", "a", "b")
assert sorted(out.splitlines()) == ["a\t1", "a\t2", "b\t1", "b\t2"], out
assert out.index("b\t1") < out.index("a\t2"), out
assert sorted(err.splitlines()) == ["a\te", "b\te"], err
assert run("-0", "-o", "lines", "-c", "echo x", text="a\nb\0")[1] == "a?b\tx\n"
'
try "names have any bytes, and no shell reads them" '
names = [b"a b", b"it'"'"'s", b"q\"q", b"$(touch pwned)", b"`touch pwned`", b"-n", b"--help", b"*", b"a\\b",
         b"\xff\xfe", b" lead", b"tail ", b"a;touch pwned", b"{}", b"{1}", b"%s", b"\xc3\xa9", b":::"]
lines = b"".join(b"[" + name + b"]\n" for name in names)
for words in ["printf", "[%s]\n", "{}"], ["printf", "[%s]\n"], ["-c", "printf \"[%s]\\n\" \"$1\""]:
    assert run(*words, text=b"\n".join(names)) == (0, lines, b""), words
assert run("-0", "printf", "[%s]", text=b"a\nb\0-x\0c")[1] == b"[a\nb][-x][c]"
assert run("printf", "[%s]\n", ":::", *names[:-1], text=b"")[1] == lines[:-6]
assert not os.path.exists("pwned")
'
try "forms, in any word" '
text = "d/e.f/a.tar.gz\nb\n/x\n.rc\nd/\n"
assert run("echo", "{.}", "{/}", "{//}", "{/.}", "x{}y", "{#}", text=text)[1] == """\
d/e.f/a.tar a.tar.gz d/e.f a.tar xd/e.f/a.tar.gzy 1
b b . b xby 2
/x x / x x/xy 3
.rc .rc . .rc x.rcy 4
d d . d xd/y 5
"""
assert run("echo", "{.}", "{/.}", text="..\nd/..\n..a\n...a.b\n")[1] == ".. ..\nd/.. ..\n..a ..a\n...a ...a\n"
assert run("awk", "BEGIN { print \"{\" ; exit }", text="a\n") == (0, "{\n", "")
assert run("echo", "{#}", "{ }", "{", "}", "{{}}", ":::", "a")[1] == "1 { } { } {a}\n"
assert run("echo", "{#}", ":::", "a", "b")[1] == "1 a\n2 b\n"
assert run("printf", "[%s]", "{}", "{1}", "a{}b", ":::", "1", "2", ":::", "x")[1] == \
    "[1][x][1][a1 xb][2][x][2][a2 xb]"
assert run("-n", "2", "echo", "{}", "end", "{2}", text="a\nb c\nd\n")[1] == "a b c end b c\nd end \n"
assert run("{}", "x", ":::", "echo", "printf")[1] == "x\nx"
'
try "all combinations of lists, of which the last varies fastest" '
assert run("-j", "3", "echo", "{#}", "{}", ":::", "a", "b", ":::", "1", "2")[1] == \
    "1 a 1\n2 a 2\n3 b 1\n4 b 2\n"
assert run("echo", "{2}{1}", ":::", "a", "b", ":::", "1", "2")[1] == "1a\n2a\n1b\n2b\n"
assert run("echo", ":::", "a", ":::")[1] == run("echo", ":::")[1] == ""
'
try "columns: CSV with quotes, TSV, any separator" '
table = "\ufeffname,lr,note\r\n\"a, b\",0.1,\"x \"\"q\"\" y\"\nc,0.2,\"two\nlines\"\n\n"
for text in table, table.rstrip("\n"):
    assert run("--columns", "csv", "printf", "[%s|%s|%s]", "{name}", "{2}", "{note}", text=text) == \
        (0, "[a, b|0.1|x \"q\" y][c|0.2|two\nlines]", "")
assert run("--columns", "csv", "echo", "{file.}", "{file/}", text="file\nd/a.b\n")[1] == "d/a a.b\n"
assert run("--columns", "tsv", "echo", "{b}-{a}", text="a\tb\n\"1\t2\n")[1] == "2-\"1\n"
assert run("--columns", "tsv", "echo", "{b}-{a}", text="a\tb\r\n1\t2\r\n")[1] == "2-1\n"
assert run("--columns", "::", "echo", "{2}", "{1}", text="a::b\nc::d\n")[1] == "b a\nd c\n"
assert run("--columns", "csv", "printf", "[%s]", "{}", text="a,b\n1,\n")[1] == "[1][]"
assert run("--columns", "csv", "echo", "{print}", text="") == (0, "", "")
'
try "what is wrong is told before a job starts, with 2" '
def wrong(what, *words, text=""):
    for file in False, True:
        code, out, err = run(*words, text=text, file=file)
        assert code == 2 and what in err and err.count("\n") == 1 and not out, (words, code, out, err)
csv = ["--columns", "csv", "touch", "ran"]
wrong("{lrr}: there is no such column; did you mean {lr}?", "--columns", "csv", "echo", "{lrr}", text="lr\n1\n")
wrong("{3}", *csv, "{3}", text="a,b\n1,2\n")
wrong("{2}", "touch", "ran{2}", text="a\n")
wrong("line 4 of the input: a quote is not closed", *csv, text="a\n1\n2\n\"3\n4\n")
wrong("line 2 of the input: a quote is within", *csv, text="a\n1\"2\"\n")
wrong("behind the quotes", *csv, text="a\n\"1\"2\n")
wrong("line 2 of the input has 1 column, the header 2", *csv, text="a,b\n1\n3,4\n")
wrong("two columns", *csv, text="a,a\n1,2\n")
wrong("line 3 of the input has a NUL byte", "touch", "ran", text="a\nb\nc\0d\n")
wrong("COMMAND is missing")
wrong("COMMAND is missing", "-j", "2")
wrong("COMMAND is missing", ":::", "a")
wrong("'"'-j'"' is after the script", "-c", "touch ran", "-j", "2", text="a\n")
wrong("'"'--log'"' is after the script", "-c", "touch ran", "--log", "x", text="a\n")
assert run("-c", "echo \"$@\"", "--", "-j", text="a\n")[1] == "-j a\n"
wrong("exclude", "-n", "2", "--columns", "csv", "touch", "ran")
wrong("exclude", "-0", "--columns", "csv", "touch", "ran")
wrong("one list", "-n", "2", "touch", "ran", ":::", "a", ":::", "b")
wrong("not for", "-0", "touch", "ran", ":::", "a")
wrong("--log", "--log", "no/such/folder", "touch", "ran", text="a\n")
wrong("--results", "--results", "no/such/folder", "touch", "ran", text="a\n")
open("no-folder", "w").close()
wrong("--results: '"'no-folder'"': Not a directory", "--results", "no-folder", "touch", "ran", text="a\n")
os.mkdir("closed", 0o500)
if os.geteuid():
    wrong("--results: '"'closed'"': Permission denied", "--results", "closed", "touch", "ran", text="a\n")
for option, values in {"timeout": ["0", "x", "-1", "1s"], "memory": ["0", "1T", "M", ""], "retries": ["-1", "2000"],
                       "per-job": ["0"], "workers": ["0", "1025"], "until": ["ever"], "columns": [""]}.items():
    for value in values:
        wrong(f"--{option}", f"--{option}", value, "touch", "ran", text="a\n")
assert not glob.glob("ran*"), glob.glob("ran*")
'
try "the options of the command are its own" '
assert run("echo", "--version", "-j", text="x\n") == (0, "--version -j x\n", "")
assert run("--", "echo", "-n", text="x\n") == (0, "x", "")
'
try "standard input of jobs is empty" '
assert run("-j", "1", "-c", "echo $1 $(wc -c)", text="a\nb\nc\n")[1] == "a 0\nb 0\nc 0\n"
'
try "failures are named, by input and reason" '
code, out, err = run("-j", "2", "-c", "[ $1 = sig ] && kill -SEGV $$; echo $1; exit $1", text="0\n37\nsig\n0\n")
assert code == 1 and out == "0\n37\n0\n", (code, out)
assert err == "tine: map: 2 of 4 jobs failed\n37: exit 37\nsig: killed by SIGSEGV\n", err
code, out, err = run("-j", "2", "sh", "-c", "exit 1", text="".join(f"a\033{i}\n" for i in range(30)))
assert code == 1 and err.splitlines()[1:] == [f"a?{i}: exit 1" for i in range(10)] + \
    ["and 20 more; --log FILE has all"], err
code, out, err = run("-c", "kill -35 $$", text="a\n")
assert code == 1 and err.endswith("\na: killed by signal 35\n"), err
code, out, err = run("sh", "-c", "exit 1", text="a\u009bb\u00e9\n")
assert code == 1 and err.splitlines()[1:] == ["a??b\u00e9: exit 1"], err
code, out, err = run("{}", text="/no/such\ntrue\n/\n" + 200000 * "x")
assert code == 1 and err.startswith("tine: map: 3 of 4") and err.count("cannot be executed") == 3, err
'
try "a command that cannot be run is told once: 126, 127" '
assert run("/no/such/program", text="a\nb\n") == (127, "", "tine: map: '"'/no/such/program'"': No such file or directory\n")
open("noexec", "w").close()
code, out, err = run("./noexec", text="a\nb\n")
assert code == 126 and err.count("\n") == 1, (code, err)
code, out, err = run(".", text="")
assert code == 126, code
# Not before it is started is this found out.
open("script", "w").write("#!/no/such/shell\n")
os.chmod("script", 0o755)
code, out, err = run("./script", text="a\nb\n")
assert code == 127 and err.count("\n") == 1, (code, err)
'
try "--until success, --until failure: what runs is ended" '
code, out, err = run("-j", "3", "--until", "success", "-c", "[ $1 = c ] && echo hit && exit 0; [ $1 = a ] && exit 1; sleep 60",
                     text="a\nb\nc\nd\ne\n")
assert (code, out, err) == (0, "hit\n", ""), (code, out, err)
code, out, err = run("-j", "1", "--until", "failure", "-c", "echo $1 >>n; [ $1 != 1 ]", text="0\n1\n2\n3\n")
assert code == 1 and open("n").read() == "0\n1\n" and "1 of 2" in err, (code, err)
assert run("--until", "success", "false", ":::", "a", "b")[0] == 1
# Without an end of the inputs.
assert run("-j", "2", "--until", "success", "-c", "[ $TINE_JOB = 9 ] && echo $TINE_JOB", text="x\n" * 100)[:2] == (0, "9\n")
'
try "--retries prints the last attempt alone" '
code, out, err = run("--retries", "2", "--log", "log", "-c", "echo >>m; echo try $(wc -l <m); sleep 0.1; [ $(wc -l <m) -ge 2 ]", text="a\n")
assert (code, out, err) == (0, "try 2\n", ""), (code, out, err)
assert [(line["attempt"], line["last"]) for line in map(json.loads, open("log"))] == [(1, False), (2, True)]
'
try "--timeout ends all of a job, --memory too" '
code, out, err = run("-j", "2", "--timeout", "0.3", "-c", "echo begun; [ $1 = 0 ] || { sleep $NAP & trap \"\" TERM; sleep $NAP; sleep $NAP; }", ":::", "0", "9")
assert (code, out) == (1, "begun\nbegun\n") and err.endswith("\n9: over 0.3 s\n"), (code, out, err)
assert not processes(f"sleep {nap}")
code, out, err = run("--memory", "80M", "-c", "/usr/bin/python3 -c \"import time; x = bytearray($1 << 20); time.sleep($1 / 10)\"; exit 0", ":::", "2", "200")
assert code == 1 and err.endswith("\n200: over 80M of memory\n"), (code, err)
# Of the same group, and of one of its own.
for start in "", "setsid":
    code, out, err = run("--memory", "80M", "-c", "(" + start + " /usr/bin/python3 -c \"import time; x = bytearray(200 << 20); time.sleep(60)\" &); sleep 20", ":::", "a")
    assert code == 1 and err.endswith("\na: over 80M of memory\n"), (start, code, err)
'
try "TINE_JOB, TINE_SLOT, TINE_SEED and TINE_WORKERS" '
show = ["-c", "echo $1 $TINE_JOB $TINE_SLOT $TINE_WORKERS $TINE_SEED"]
lines = [line.split() for line in run("-j", "2", *show, text="a\na\nb\nc\n")[1].splitlines()]
assert [line[1] for line in lines] == ["1", "2", "3", "4"] and {line[2] for line in lines} <= {"0", "1"}, lines
seeds = [line[4] for line in lines]
assert len(set(seeds)) == 4 and all(0 <= int(seed) < 2 ** 64 for seed in seeds), seeds
# Of no place, worker or -j; but of the seed.
others = {}
for line in run("-j", "1", *show, text="c\nx\nb\na\na\n")[1].splitlines():
    others.setdefault(line.split()[0], []).append(line.split()[4])
assert others["a"] == seeds[:2] and others["b"] == [seeds[2]] and others["c"] == [seeds[3]], (others, seeds)
assert run("-s", "2", *show, text="a\n")[1].split()[4] not in seeds
assert run("-s", "1", *show, text="a\n")[1].split()[4] == seeds[0]
few = run("-j", "1000", *show, text="a\n", env={"TINE_WORKERS": "3"})[1].split()
assert few[3] == "1", few
'
try "--log has an object a job, whatever bytes there are" '
code, out, err = run("-j", "2", "--log", "log2", "-c", "[ ! $1 ] || exit $1", "x", "{}", text=b"3\n\xff\"\\\xc3\xa9\x01\xed\xa0\x80\n")
logged = sorted((json.loads(line) for line in open("log2")), key=lambda line: line["job"])
assert [line["exit"] for line in logged] == [0, 0] or code == 1, logged
assert os.fsencode(logged[1]["input"]) == b"\xff\"\\\xc3\xa9\x01\xed\xa0\x80" == os.fsencode(logged[1]["argv"][-1])
code, out, err = run("--log", "log2", "-c", "kill -9 $$", text="a\n")
last = [json.loads(line) for line in open("log2")][-1]
assert last["exit"] is None and last["signal"] == 9 and last["reason"] == "killed by SIGKILL", last
assert last["seconds"] > 0 and last["memory_bytes"] > 0 and not last["kept"], last
'
try "--results, --dry-run" '
code, out, err = run("--results", "res", "-c", "echo out $1; echo err >&2", text="a/b\nc\n")
assert (code, out, err) == (0, "out a/b\nout c\n", "err\nerr\n")
assert [open(f"res/00000{i}/{name}").read() for i in (1, 2) for name in ("stdout", "stderr")] == \
    ["out a/b\n", "err\n", "out c\n", "err\n"]
words = ["a b", "it'"'"'s", "", "x=1", "$(touch made)", "plain/./w-1.2"]
code, out, err = run("--dry-run", "touch", "made", "{}", text="\n".join(words) + "\n")
assert (code, err) == (0, "") and not os.path.exists("made"), (code, out)
assert [shlex.split(line)[2] for line in out.splitlines()] == words, out
assert out.endswith(" plain/./w-1.2\n"), out
'
try "--memfree: one job runs, and no more while there is too little" '
show = ["-j", "2", "-c", "sleep 0.05; echo $TINE_SLOT", ":::", *"abcd"]
assert run("--memfree", "1000000G", *show)[1] == "0\n" * 4
assert sorted(set(run("--memfree", "1K", *show)[1].split())) == ["0", "1"]
'
try "below make, each job but the first takes one of its jobs, and gives it back" '
import shutil
if shutil.which("make"):
    rule = "\t+@$(TINE) map -j 4 --log $@.log -c \"sleep 0.1; [ $$1 != 9 ]\" ::: 1 2 3 4 9\n"
    open("Makefile", "w").write("all: a b\na b:\n" + rule.replace("\n", " || true\n"))
    made = subprocess.run(["make", "-j", "3", "all"], text=True, capture_output=True, env={**os.environ, "TINE": tine})
    # Make says it if a token is missing in the end.
    assert made.returncode == 0 and "token" not in made.stderr, made
    spans = [(line["ended"] - line["seconds"], line["ended"]) for name in "ab"
             for line in map(json.loads, open(f"{name}.log"))]
    assert len(spans) == 10
    # An end is noted when it is over, and the clock of the notes is in ms.
    most = max(sum(begun < at + 0.002 < ended for begun, ended in spans) for at, _ in spans)
    assert 2 <= most <= 3, (most, spans)
'
try "a line on a terminal, within its width, and nothing of it in the output" '
import fcntl, pty, struct, termios
for width in 60, 20:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    made = subprocess.Popen([tine, "map", "-j", "1", "-c", "sleep 0.3; echo out-$1", ":::", "\u00e9" * 40, "b"],
                            stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert made.communicate()[0].decode() == "out-" + "\u00e9" * 40 + "\nout-b\n" and made.returncode == 0
    text = seen.decode()
    assert re.search(r"1/2", text) and re.search(r"\r\n?$|\n$", text), text
    lines = text.replace("\r", "\n").split("\n")
    assert all(len(line) <= width for line in lines if "one by one" not in line), lines
    assert "2 jobs, 2 run in" in text and "(1 at a time; one by one" in text, text
'
plan
