#!/bin/sh
# SPDX-License-Identifier: MIT
# The recipes of tine-map(1), as the page has them, and that its options are those of the
# command.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"

unset TINE_WORKERS TINE_TRACE MAKEFLAGS MAKELEVEL
here=$(cd "$(dirname "$0")" && pwd)
page=$here/../../man/tine-map.1
mkdir "$work/bin"
ln -s "$(realpath "$TINE")" "$work/bin/tine"
PATH=$work/bin:$PATH

# stub NAME SCRIPT: a program of this name, in PATH and in the recipe's folder.
stub() {
    printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
    ln -s "$work/bin/$1" "$1"
}

# recipe TITLE: begins a folder for it, and has what the page says in "recipe".
recipe() {
    title=$1
    mkdir "$work/$title"
    cd "$work/$title" || exit 1
    sed -n "/^\.Ss $title\$/,/^\.Ed/{/^\.Bd/,/^\.Ed/{/^\.[BE]d/d;s/\\\\e/\\\\/g;p;};}" "$page" \
        >"$work/recipe"
    [ -s "$work/recipe" ] || echo "# no recipe '$title'"
}

# gives EXPECTED: the recipe runs, with 0, and prints this.
gives() {
    printf '%b' "$1" >"$work/expected"
    sh "$work/recipe" >"$work/out" 2>"$work/err" && [ ! -s "$work/err" ] &&
        cmp "$work/out" "$work/expected"
    code=$?
    [ $code -eq 0 ] || sed 's/^/# /' "$work/recipe" "$work/out" "$work/err"
    result $code "$title"
}

recipe "A folder of pictures"
stub convert 'cp "$1" "$2"; echo "$2"'
touch 1.png "a b.png"
gives '1.webp\na b.webp\n'
[ -e "a b.webp" ]
result $? "and the pictures are there"

recipe "A grid of parameters"
stub sim 'echo "$@"'
printf 'seed,lr\n1,0.5\n2,0.25\n' >grid.csv
gives '--lr 0.5 --seed 1\n--lr 0.25 --seed 2\n'

recipe "A build"
echo 'int a(void);' >all.h
printf '#include "all.h"\nint a(void) { return 1; }\n' >a.c
printf '#include "all.h"\nint main(void) { return a(); }\n' >b.c
gives ''
cc -o program a.o b.o && ! ./program
result $? "and the program is built"
before=$(stat -c %z a.o)
echo 'int other;' >>b.c
sh "$work/recipe" && [ "$(stat -c %z a.o)" = "$before" ] && echo >>all.h &&
    sh "$work/recipe" && [ "$(stat -c %z a.o)" != "$before" ]
result $? "and built again"

recipe "Tests"
mkdir tests
echo 'cat program; echo >>count' >tests/a
cp tests/a tests/b
echo one >program
gives 'one\none\n'
gives 'one\none\n'
echo two >program
gives 'two\ntwo\n'
[ "$(wc -l <count)" -eq 4 ]
result $? "and they ran again when the program had changed"

recipe "Downloads"
stub curl '[ -e tried ] || { : >tried; echo partly; exit 22; }
echo "$2"'
echo http://localhost/a >urls
gives 'http://localhost/a\n'
[ "$(wc -l <downloads.json)" -eq 2 ]
result $? "and both attempts are in the log"

recipe "A simulation with seeds"
stub sim 'echo "$2"; echo >>count'
sh "$work/recipe" >one && sh "$work/recipe" >other && cmp one other &&
    [ "$(sort -u one | wc -l)" -eq 100 ] && [ "$(wc -l <count)" -eq 100 ]
result $? "$title"

recipe "A filter over lines"
seq -f 'line %.0f' 1 2500 >words
sh "$work/recipe" >out && tr a-z A-Z <words | cmp - out
result $? "$title"

recipe "The first success"
stub search 'case $1 in *[05]) echo "$1" ;; *) exit 1 ;; esac'
sh "$work/recipe" >out && [ "$(wc -l <out)" -ge 1 ] && grep -q '[05]$' out
result $? "$title"

recipe "A GPU for each slot"
stub train 'case $CUDA_VISIBLE_DEVICES in [01]) echo "$1" ;; esac'
touch a.cfg b.cfg c.cfg
gives 'a.cfg\nb.cfg\nc.cfg\n'

recipe "Started by make"
if command -v make >/dev/null; then
    mkdir tests
    touch tests/a tests/b
    stub run 'echo "$1 ran"'
    { echo 'all: check'; cat "$work/recipe"; } >Makefile
    make -j 2 >out 2>err && grep -q 'tests/a ran' out && grep -q 'tests/b ran' out && [ ! -s err ]
    result $? "$title"
else
    skip "$title" "no make"
fi

recipe "From C"
echo a >a
echo b >b
if [ -e "$BUILD/src/libtine.so" ]; then
    cp "$work/recipe" program.c
    cc -I"$here/../../include" program.c -L"$BUILD/src" -ltine -pthread \
        -Wl,-rpath,"$BUILD/src" -o program && ./program && [ -e a.gz ] && [ -e b.gz ]
    result $? "$title"
else
    skip "$title" "no library beside the tests"
fi

bad=0
runs 0 help map
for option in $(grep -o '^  .\{4\}--[a-z-]*' "$work/out" | sed 's/.*--//'); do
    grep -qF "Fl \\-$option" "$page" ||
        { echo "# --$option is not in the page" && bad=1; }
done
result $bad "the page has each option"
if command -v mandoc >/dev/null; then
    mandoc -T ascii "$page" | sed 's/.\x08//g' >"$work/page"
    grep -qF "find . -name" "$work/page" && grep -qx "   Started by make" "$work/page"
    result $? "dots and words that mdoc could take for its own are shown as they are"
else
    skip "the page as it is shown" "no mandoc"
fi
plan
