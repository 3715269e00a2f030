#!/bin/sh
# SPDX-License-Identifier: MIT
# What make run shows: each part does what is said of it.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/../.." || exit 1

# says LINE: the output has it.
says() {
    grep -qx -- " *$1" "$work/out" && return
    echo "# no line '$1'"
    sed 's/^/# /' "$work/out"
    return 1
}

# A machine on which one package of Debian's is not installed.
mkdir "$work/bin"
cat >"$work/bin/dpkg-query" <<'END'
#!/bin/sh
for package; do :; done
[ "$package" = python3-dev ] || printf installed
END
printf '#!/bin/sh\nexit 1\n' >"$work/bin/apt-get"
chmod +x "$work/bin/dpkg-query" "$work/bin/apt-get"
PATH="$work/bin:$PATH" tools/doors "$BUILD" "$work/no site" >"$work/out" 2>"$work/err"
result $? "all parts are shown"
sed 's/^/# /' "$work/err"
[ ! -s "$work/err" ]
result $? "and nothing goes wrong"
says 'red.ppm: 255 0 0' && says 'green.ppm: 0 255 0' && says 'blue.ppm: 0 0 255' &&
    says 'broken.ppm: The process doing the work died'
result $? "C: the job that crashes is one failed job"
[ "$(grep -c 'logs/4.gz: 4000' "$work/out")" -eq 2 ]
result $? "the shell: the same, twice"
says 'The package is not built; make python builds it, and installs python3-dev.'
result $? "Python: what is missing is named with its package"
says 'one process  *#*  *[0-9.]* s' || says '.*may use one processor of.*'
result $? "a picture"
! expand "$work/out" | grep -nE '^.{101,}'
result $? "lines are short"

# The package as it is built here, if it is.
if [ -d build-python/site/tine ]; then
    tools/doors "$BUILD" build-python/site >"$work/out" 2>"$work/err" &&
        [ "$(grep -c 'pi is about 3\.1' "$work/out")" -eq 2 ]
    result $? "Python: one import changed"
else
    skip "Python: one import changed" "make python has not been run"
fi
plan
