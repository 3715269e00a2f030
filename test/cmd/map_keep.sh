#!/bin/sh
# SPDX-License-Identifier: MIT
# tine map: results that are kept, what they depend on, and what spoils them.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

unset TINE_WORKERS TINE_TRACE TINE_CACHE XDG_CACHE_HOME MAKEFLAGS MAKELEVEL
mapping
cat >>"$work/mapping.py" <<'END'

# Each run of a job adds a letter to the file runs.
def ran():
    n = os.path.getsize("runs") if os.path.exists("runs") else 0
    open("runs", "w").close()
    return n

def keep(*words, **more):
    return run("--cache", "kept", *words, **more)

# A job that counts its runs and then does what the script says.
def count(script):
    return ["sh", "-c", "printf r >>runs\n" + script, "sh"]

def write(name, text, old=True):
    with open(name, "w") as file:
        file.write(text)
    if old:
        os.utime(name, (1e9, 1e9))

# The time of change of what was written before this is no longer fresh.
def grow_old():
    time.sleep(2.1)
END
cd "$work" || exit 1

# in_folder NAME PROGRAM: in a folder of its own.
in_folder() {
    try "$1" "os.mkdir(folder := tempfile.mkdtemp(dir='.') + '/w'); os.chdir(folder)
$2"
}

in_folder "what a job wrote is there again, byte for byte, in both streams" '
script = "printf \"\\\\000\\\\377$1\"; sleep 0.02; echo err$1 >&2; sleep 0.02; printf \"no newline\""
first = keep(*count(script), text=b"a\nb\n")
assert first[0] == 0 and first[1] == b"\0\xffano newline\0\xffbno newline" and ran() == 2, first
for words in [], ["-j", "1"], ["-o", "done"]:
    again = keep(*words, *count(script), text=b"a\nb\n")
    assert again == first and ran() == 0, again
together = subprocess.run([tine, "map", "--cache", "kept", *count(script), ":::", "a"],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
assert together == b"\0\xffaerra\nno newline" and ran() == 0, together
assert keep("-o", "lines", *count(script), text=b"a\n")[2] == b"a\terra\n" and ran() == 0
# Longer than is held in memory.
long = ["sh", "-c", "printf r >>runs; yes $1 | head -c 3000000", "sh"]
first = keep(*long, text="a\nb\nc\n")
assert ran() == 3 and len(first[1]) == 9000000 and keep(*long, text="a\nb\nc\n") == first and ran() == 0
assert keep("--results", "R", *long, text="b\n")[0] == 0 and ran() == 0
assert os.path.getsize("R/000001/stdout") == 3000000
'
in_folder "no option, no cache; --once is the default one" '
for i in 0, 1:
    run(*count(""), text="a\n")
    assert ran() == 1
env = {"XDG_CACHE_HOME": os.getcwd() + "/x"}
for i in 1, 0:
    run("--once", *count(""), text="a\n", env=env)
    assert ran() == i and os.path.exists("x/tine/index")
'
in_folder "the key is the arguments as they are, and the folder" '
def new(*words, **more):
    keep(*words, **more)
    return ran() > 0
script = ["sh", "-c", f"printf r >>{os.getcwd()}/runs", "sh"]
assert new(*script, "a", "b", ":::", "c")
assert not new(*script, "a", ":::", "b", ":::", "c") and not new(*script, "{1}", "{2}", "{3}", ":::", "a", ":::", "b", ":::", "c")
for words in ["a b", ":::", "c"], ["a", ":::", "b c"], ["a", "bc", ":::", ""], ["ab", "", ":::", "c"], ["", "a", "b", ":::", "c"], \
        ["a\nb", ":::", "c"], ["b", "a", ":::", "c"]:
    assert new(*script, *words) and not new(*script, *words), words
# Of an empty argument, and of none.
assert new(*script, ":::", "") and new(*script, "{#}", ":::", "") and not new(*script, ":::", "")
os.mkdir("d")
at = "../kept"
assert run("--cache", at, *script, "a", "b", ":::", "c", cwd="d")[0] == 0 and ran() == 1
assert run("--cache", at, *script, "a", "b", ":::", "c", cwd="d")[0] == 0 and ran() == 0
'
in_folder "the same command again is another job, with another seed" '
words = count("echo $TINE_SEED")
first = keep(*words, "x", text=3 * "a\n")
seeds = first[1].split()
assert ran() == 3 and len(set(seeds)) == 3
assert keep(*words, "x", text=3 * "a\n") == first and ran() == 0
five = keep(*words, "x", text="b\n" + 2 * "a\n" + "c\n" + 2 * "a\n")
assert ran() == 3 and [five[1].split()[i] for i in (1, 2, 4)] == seeds, five
other = keep("--seed", "2", *words, "x", text="a\n")
assert ran() == 1 and other[1].strip() not in seeds
assert keep("-s", "1", *words, "x", text="a\n")[1].split() == seeds[:1] and ran() == 0
# A function of seed, command and occurrence: of no place, slot or other job.
plain = lambda *more, text: run(*more, "sh", "-c", "echo $1 $TINE_SEED", "x", text=text)[1].split("\n")[:-1]
many = plain("-j", "1", text="a\nb\na\n")
assert sorted(plain("-j", "3", text="b\na\nc\na\n")[i] for i in (0, 1, 3)) == sorted(many)
assert plain(text="a\n") == run("sh", "-c", "echo $1 $TINE_SEED", "{1}", "{2}", ":::", "x", ":::", "a")[1].split("\n")[:-1]
assert all(0 <= int(line.split()[1]) < 2**64 for line in many)
'
in_folder "variables that are named" '
words = ["--env", "LEVEL", *count("echo ${LEVEL-none}")]
for value in {}, {"LEVEL": ""}, {"LEVEL": "1"}, {"LEVEL": "2"}:
    first = keep(*words, ":::", "a", env=value)
    assert ran() == 1, value
    assert keep(*words, ":::", "a", env={**value, "OTHER": "x"}) == first and ran() == 0
for name in "", "A=B":
    assert keep("--env", name, "true", ":::", "a")[0] == 2
for option in "--in", "--out", "--env":
    code, out, err = run(option, "NAME", "true", ":::", "a")
    assert code == 2 and "--once" in err, err
code, out, err = keep("--columns", "csv", "--out", "{nane}", "true", text="name\na\n")
assert code == 2 and "--out" in err and "nane" in err, err
assert keep("--columns", ",", "--in", "{3}", "true", "{1}", text="a,b\n")[0] == 2
'
in_folder "contents of files, whatever their times say" '
write("a.in", "one")
write("b.in", "two")
write("tool", "data")
write("extra.a.in", "x")
words = ["--in", "extra.{}", *count("cat $2 $1"), "{}", "tool", ":::", "a.in", "b.in"]
grow_old()
assert keep(*words)[1] == "dataonedatatwo" and ran() == 2
assert keep(*words)[1] == "dataonedatatwo" and ran() == 0
# As long, and as old; only the time of change tells.
write("a.in", "ONE")
assert keep(*words)[1] == "dataONEdatatwo" and ran() == 1
# Within a tick of the clock, too.
for text in "1ne", "2ne", "3ne":
    write("a.in", text)
    assert keep(*words)[1] == "data" + text + "datatwo" and ran() == 1
write("a.in", "one")
assert keep(*words)[1] == "dataonedatatwo" and ran() == 0
# Touched, copied, and renamed into place: the same contents.
os.utime("a.in")
write("copy", "one", old=False)
os.rename("copy", "a.in")
assert keep(*words)[0] == 0 and ran() == 0
# A word that all jobs have, a file of --in that comes, changes and goes.
write("tool", "DATA")
assert keep(*words)[1] == "DATAoneDATAtwo" and ran() == 2
write("extra.b.in", "y")
assert keep(*words)[0] == 0 and ran() == 1
write("extra.a.in", "z")
assert keep(*words)[0] == 0 and ran() == 1
os.unlink("extra.a.in")
assert keep(*words)[0] == 0 and ran() == 1
# Names that point elsewhere.
write("c.in", "three")
os.unlink("b.in")
os.symlink("c.in", "b.in")
assert keep(*words)[1] == "DATAoneDATAthree" and ran() == 1
write("c.in", "THREE")
assert keep(*words)[1] == "DATAoneDATATHREE" and ran() == 1
assert keep(*words)[0] == 0 and ran() == 0
'
in_folder "contents are read once for each state of a file" '
write("big", "x" * 1000000)
write("other", "x")
grow_old()
write("fresh", "x")
keep("true", "{}", ":::", "big", "fresh", "other")
write("other", "y")
traced = ["strace", "-f", "-e", "trace=openat"]
if not shutil.which("strace") or subprocess.run([*traced, "true"], stderr=subprocess.DEVNULL).returncode:
    sys.exit()
for i in 0, 1:
    made = subprocess.run([*traced, tine, "map", "--cache", "kept", "true", "{}", ":::", "big", "fresh", "other"],
        stderr=subprocess.PIPE, text=True)
    assert made.returncode == 0
    # What was changed just now may be changed once more within a tick of its times.
    assert ["\"" + name + "\"" in made.stderr for name in ("big", "fresh", "other")] == [False, True, True], made.stderr
'
in_folder "the program, as PATH finds it" '
env = {"PATH": "bin:" + os.environ["PATH"], "RUNS": os.getcwd() + "/runs"}
def program(where, text):
    os.makedirs(where, exist_ok=True)
    write(where + "/prog", "#!/bin/sh\nprintf r >>$RUNS; " + text)
    os.chmod(where + "/prog", 0o755)
program("bin2", "echo two")
env["PATH"] = "bin:bin2:" + os.environ["PATH"]
assert keep("prog", ":::", "a", env=env)[1] == "two\n" and ran() == 1
assert keep("prog", ":::", "a", env=env)[1] == "two\n" and ran() == 0
program("bin", "echo one")
assert keep("prog", ":::", "a", env=env)[1] == "one\n" and ran() == 1
program("bin", "echo ONE")
assert keep("prog", ":::", "a", env=env)[1] == "ONE\n" and ran() == 1
shutil.rmtree("bin")
assert keep("prog", ":::", "a", env=env)[1] == "two\n" and ran() == 0
assert keep("bin2/prog", ":::", "a", env=env)[1] == "two\n" and ran() == 1
'
in_folder "a failure is not kept, and a job that fails has its files" '
assert keep(*count("exit 3"), ":::", "a")[0] == 1 and keep(*count("exit 3"), ":::", "a")[0] == 1 and ran() == 2
code, out, err = keep("--out", "{}.o", *count("[ $1 = a ] || echo >$1.o"), ":::", "a", "b")
assert code == 1 and "a: made no a.o" in err and ran() == 2, err
code, out, err = keep("--out", "{}.o", *count("[ $1 = a ] || echo >$1.o"), ":::", "a", "b")
assert code == 1 and ran() == 1
# Tried again, and kept by that.
words = ["--retries", "1", "--out", "x", *count("[ -e x ] && exit; [ -e y ] && echo >x; echo >y; echo $1"), ":::", "a"]
assert keep(*words) == (0, "a\n", "") and ran() == 2 and keep(*words) == (0, "a\n", "") and ran() == 0
words = ["--retries", "1", *count("echo $1; [ -e z ] && exit; echo >z; exit 1"), ":::", "a"]
assert keep(*words) == (0, "a\n", "") and ran() == 2 and keep(*words) == (0, "a\n", "") and ran() == 0
'
in_folder "files that jobs make are as they were, or are made again" '
words = ["--out", "{.}.o", "--out", "{.}.d", *count("cp $1 ${1%.c}.o; echo $1 >${1%.c}.d"), "{}", ":::", "a.c", "b.c"]
write("a.c", "a")
write("b.c", "b")
grow_old()
def good(n):
    assert keep(*words) == (0, "", "") and ran() == n
    assert open("a.o").read() == "a" and open("b.d").read() == "b.c\n"
good(2)
good(0)
os.unlink("a.o")
good(1)
good(0)
write("b.d", "B.c\n")
good(1)
good(0)
os.utime("a.o")
good(0)
write("a.o", "")
write("b.o", "spoilt")
good(2)
# One that comes to be asked for.
assert keep("--out", "{}", *words)[0] == 0 and ran() == 2
# A word that is what the job makes is no input.
words = ["--out", "made", *count("date +%N >$2"), "{}", "made", ":::", "a.c"]
assert keep(*words)[0] == 0 and ran() == 1 and keep(*words)[0] == 0 and ran() == 0
'
in_folder "not kept, and said once: folders, devices, what changes meanwhile" '
os.mkdir("folder")
def not_kept(what, *words):
    for i in 0, 1:
        code, out, err = keep(*words)
        assert code == 0 and ran() > 0 and err.count("not kept") == 1 and what in err and err.count("\n") == 1, (err, words)
not_kept("folder", *count(""), ":::", "folder", ".")
not_kept("/dev/null", *count(""), ":::", "/dev/null")
not_kept("folder", "--in", "folder", *count(""), ":::", "a")
not_kept("made", "--out", "made", *count("mkdir -p made"), ":::", "a")
# Without a size.
not_kept("/proc/sys/kernel/ostype", *count(""), ":::", "/proc/sys/kernel/ostype")
write("a", "a")
not_kept("a", *count("echo >>$1"), ":::", "a")
# By one who sets back what can be set back.
write("old", "a")
grow_old()
not_kept("old", *count("case $(cat $1) in a) v=b ;; *) v=a ;; esac; printf $v >$1; touch -d @1000000000 $1"), ":::", "old")
# Where nobody could tell by its times.
not_kept("a", *count("printf $$ >$1; touch -d @1000000000 $1"), ":::", "a")
if os.geteuid():
    os.chmod("a", 0)
    not_kept("a", *count(""), ":::", "a")
# With --in it is known what is read of a folder; a folder that all jobs name is no input.
write("folder/file", "1")
words = ["--in", "{}/file", *count("cat $1/file"), "{}", ".", ":::", "folder"]
assert keep(*words) == (0, "1", "") and ran() == 1 and keep(*words) == (0, "1", "") and ran() == 0
write("folder/file", "2")
assert keep(*words) == (0, "2", "") and ran() == 1
'
in_folder "output that is too long for the cache is printed, and not kept" '
keep("true", ":::", "a")
subprocess.run([tine, "cache", "stat", "--max-bytes", "1048576", "kept"], stdout=subprocess.DEVNULL, check=True)
words = count("yes $1 | head -c 1000000")
for i in 2, 2:
    code, out, err = keep(*words, ":::", "a", "b")
    assert code == 0 and len(out) == 2000000 and ran() == 2, (code, len(out), err)
    assert err == "tine: map: not kept: output of more than half of the cache\n", err
'
in_folder "two at once: each job is run once, and both have all" '
text = "".join(f"{i}\n" for i in range(12))
words = ["-j", "3", *count("sleep 0.1; echo $1")]
both = [subprocess.Popen([tine, "map", "--cache", "kept", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in (0, 1, 2)]
for one in both:
    one.stdin.write(text)
    one.stdin.close()
assert [one.stdout.read() for one in both] == 3 * [text] and ran() == 12
assert all(one.wait() == 0 for one in both)
# One is stopped, with a job: others wait for that job alone; and have it when it is killed.
first = subprocess.Popen([tine, "map", "--cache", "kept", *count("echo $1; [ -e go ] || exec sleep 300"), ":::", "s"], stdout=subprocess.DEVNULL)
wait_for(lambda: os.path.getsize("runs") == 1)
first.send_signal(signal.SIGSTOP)
write("go", "")
second = subprocess.Popen([tine, "map", "--cache", "kept", *count("echo $1; [ -e go ] || exec sleep 300"), ":::", "s", "t"], stdout=subprocess.PIPE, text=True)
wait_for(lambda: os.path.getsize("runs") == 2)
time.sleep(0.2)
assert second.poll() is None and os.path.getsize("runs") == 2
first.kill()
assert second.communicate(timeout=60)[0] == "s\nt\n" and second.returncode == 0 and ran() == 3
first.wait()
# What has failed is for others at once, though the first still runs.
words = count("[ $1 = a ] && exit 1; [ -e stay ] || exec sleep 300")
first = subprocess.Popen([tine, "map", "--cache", "kept", "-j", "1", *words, ":::", "a", "b"], stderr=subprocess.DEVNULL)
wait_for(lambda: os.path.getsize("runs") == 2)
assert keep(*words, ":::", "a")[0] == 1 and ran() == 3
first.terminate()
assert first.wait(60) == -signal.SIGTERM
# And one that waits ends at a signal.
os.unlink("go")
first = subprocess.Popen([tine, "map", "--cache", "kept", *count("[ -e go ] || exec sleep 300"), ":::", "u"])
wait_for(lambda: os.path.getsize("runs") == 1)
second = subprocess.Popen([tine, "map", "--cache", "kept", *count("[ -e go ] || exec sleep 300"), ":::", "u"])
time.sleep(0.2)
second.send_signal(signal.SIGTERM)
assert second.wait(60) == -signal.SIGTERM
first.terminate()
assert first.wait(60) == -signal.SIGTERM
'
in_folder "the longest first, among jobs whose inputs were read; unknown ones before them" '
def timed(*words, text):
    return keep("--longest-first", "--columns", ",", *words, "-c", "echo $1 >>starts; sleep $2; echo $1", text=text)
def starts(*words, text):
    code, out, err = timed(*words, text=text)
    assert (code, err) == (0, "") and sorted(out.split()) == sorted(row.split(",")[0] for row in text.split()), (out, err)
    started = open("starts").read().split()
    os.unlink("starts")
    return out.split(), started
text = "a,0\nb,0.4\nc,0.1\nd,0.2\ne,0\n"
assert starts("-j", "1", "-o", "done", "--log", "log", text=text) == 2 * (list("abcde"),)
# As the first run has measured it, whatever the machine did meanwhile.
took = {line["input"][0]: line["seconds"] for line in map(json.loads, open("log"))}
longest = sorted("abcde", key=lambda name: -took[name])
text = "a,0\nb,0.4\nx,0\nc,0.1\nd,0.2\ny,0\ne,0\n"
assert starts("-j", "1", "-o", "done", "-s", "2", text=text) == 2 * (["x", "y"] + longest,)
# One at a time is as good in order, and what is printed next waits for nobody.
assert starts("-j", "1", "-s", "3", text=text) == 2 * (list("abxcdye"),)
# All of them are kept by now.
assert timed("-s", "3", text=text) == (0, "".join(c + "\n" for c in "abxcdye"), "")
assert not os.path.exists("starts")
assert run("--longest-first", "true", ":::", "a")[0] == 2
'
in_folder "longer jobs do not go before the one whose output is next; what never starts holds up nobody" '
words = ["-c", """[ -e again ] || { [ $1 -lt 4 ] || sleep 2; exit; }
echo $1 >>starts; : >started-$1
[ $1 -lt 4 ] || for i in $(seq 200); do [ -e started-2 ] && break; sleep 0.05; done
echo $1""", ":::", *"12345"]
assert keep("-j", "5", *words)[0] == 0
write("again", "")
code, out, err = keep("-s", "2", "--longest-first", "-j", "2", *words)
assert (code, out, err) == (0, "1\n2\n3\n4\n5\n", ""), (out, err)
begun = open("starts").read().split()
assert set(begun[:begun.index("2")]) in ({"1"}, {"1", "4"}, {"1", "5"}), begun
# The first runs until others have decided; those between never start.
words = ["-c", """[ -e decide ] || { [ $1 -lt 4 ] || sleep 2; exit; }
: >ran-$1; [ $1 -lt 4 ] && exec sleep 300; echo $1""", ":::", *"1234"]
assert keep("-j", "4", *words)[0] == 0
write("decide", "")
assert keep("-s", "2", "-j", "2", "--longest-first", "--until", "success", *words) == (0, "4\n", "")
assert set(glob.glob("ran-*")) - {"ran-1"} == {"ran-4"}
'
in_folder "what is read ahead for the longest is bounded" '
for size, most in (100, 1 << 20), (20000, 5 << 20):
    made = subprocess.Popen([tine, "map", "--cache", "kept", "--longest-first", "-j", "2", "--until", "success",
                             "-c", "sleep 0.5"], stdin=subprocess.PIPE)
    line, written = size * b"x" + b"\n", 0
    try:
        while True:
            written += os.write(made.stdin.fileno(), line)
    except BrokenPipeError:
        pass
    assert made.wait(60) == 0 and 4 * size < written < most, (size, written)
'
in_folder "killed in the middle, it goes on where it was" '
text = "".join(f"{i}\n" for i in range(30))
words = ["-j", "2", *count("sleep 0.02; echo $1")]
for i in range(3):
    one = subprocess.Popen([tine, "map", "--cache", "kept", *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    one.stdin.write(text)
    one.stdin.close()
    wait_for(lambda: os.path.getsize("runs") >= 5 * i + 5 if os.path.exists("runs") else False)
    one.kill()
    one.wait()
before = ran()
assert before < 30
assert keep(*words, text=text) == (0, text, "")
assert 30 <= before + ran() <= 36
assert keep(*words, text=text) == (0, text, "") and ran() == 0
'
in_folder "a cache that is damaged, another user has, or is none" '
text = "".join(f"{i}\n" for i in range(50))
assert keep(*count("echo $1"), text=text)[1] == text and ran() == 50
data = bytearray(open("kept/data", "rb").read())
for at in range(200, len(data), 997):
    data[at] ^= 0x5a
open("kept/data", "r+b").write(data)
assert keep(*count("echo $1"), text=text)[:2] == (0, text) and ran() > 0
open("kept/index", "r+b").write(b"\x55" * 4096)
code, out, err = keep(*count("echo $1"), text=text)
assert (code, out, ran()) == (0, text, 50) and "damaged" in err, (code, out, err)
assert keep(*count("echo $1"), text=text) == (0, text, "") and ran() == 0
os.chmod("kept", 0o777)
code, out, err = keep(*count("echo $1"), text=text)
assert code == 2 and out == "" and ran() == 0 and err.count("\n") == 1, err
os.mkdir("full")
write("full/file", "")
assert run("--cache", "full", *count(""), text=text)[0] == 2 and ran() == 0
'
in_folder "tine cache lists and clears what is kept" '
keep(*count(""), ":::", "a b", "c")
assert ran() == 2
def cache(*words):
    return subprocess.run([tine, "cache", *words], stdout=subprocess.PIPE, text=True, check=True).stdout
lines = [line.split("  map  ", 1)[1] for line in cache("list", "--task", "map", "kept").split("\n")[:-1]]
assert sorted(line for line in lines if line[0] != "#") == ["sh -c " + shlex.quote("printf r >>runs\n") .replace("\n", "?") + " sh " + word for word in ("'\''a b'\''", "c")], lines
listed = json.loads(cache("list", "--json", "kept"))["list"]
assert all(entry["task"] == "map" for entry in listed)
assert sum(entry["command"].endswith(" c") for entry in listed) == 2
cache("clear", "--task", "other", "kept")
keep(*count(""), ":::", "a b", "c")
assert ran() == 0
cache("clear", "--task", "map", "kept")
assert cache("list", "kept") == ""
keep(*count(""), ":::", "a b", "c")
assert ran() == 2
'
in_folder "a dry run tells what is kept, and makes nothing" '
assert keep("--dry-run", "echo", ":::", "a", "b") == (0, "echo a\necho b\n", "") and not os.path.exists("kept")
keep("echo", ":::", "b")
assert keep("--dry-run", "echo", ":::", "a", "b") == (0, "echo a\necho b # kept\n", "")
keep("--log", "log", "echo", ":::", "a", "b")
assert [json.loads(line)["kept"] for line in open("log")] in ([True, False], [False, True])
'
plan
