#!/bin/sh
# SPDX-License-Identifier: MIT
# The manual as a site: every page is there, every link leads to one, and a browser shows
# them as they are meant.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")

if ! command -v cmark-gfm >/dev/null || ! command -v mandoc >/dev/null; then
    skip "the site is made" "there is no cmark-gfm or mandoc"
    plan
    exit
fi
tools/site "$work/site" "$BUILD" >"$work/log" 2>&1
code=$?
sed 's/^/# /' "$work/log"
result $code "the site is made, and each link leads to a page"

missing=0
for source in doc/*.md doc/*/*.md man/*.[137] "$BUILD"/cmd/*.1; do
    page=${source#doc/}
    case $page in
    man/* | */cmd/*) page=man/${page##*/}.html ;;
    *README.md) page=${page%README.md}index.html ;;
    *) page=${page%.md}.html ;;
    esac
    [ -s "$work/site/$page" ] || { echo "# no $page" && missing=1; }
done
result $missing "each page of doc, man and the commands is in it"
tools/site "$work/less" "$work" >"$work/log" 2>&1
code=$?
[ $code -eq 1 ] && grep -q 'tine-inspect(1) has no page' "$work/log"
result $? "a reference to a page that is not there is an error"

read_all() {
    page=01-before.html
    while [ "$page" ] && [ -s "$work/site/course/$page" ]; do
        echo "$page"
        page=$(sed -n 's/^<a rel="next" href="\([^"]*\)".*/\1/p' "$work/site/course/$page")
    done
}
[ "$(read_all)" = "$(cd doc/course && printf '%s\n' [0-9]*.md | sed 's/md$/html/')" ]
result $? "each chapter of the course leads to the next"

! grep -rlE '<script|https?://[^"]*\.(css|js)|@import' "$work/site" | grep .
result $? "it needs no script and no network"

# The checks see a style that stands in the page.
for page in index cookbook/index from/gnu-parallel course/05-pool man/tine_pool.3 man/tine-map.1 limits; do
    name=$(echo "$page" | tr / -)
    {
        sed '/<link rel="stylesheet"/,$d' "$work/site/$page.html"
        echo "<style>"
        cat doc/manual.css
        echo "</style>"
        sed '1,/<link rel="stylesheet"/d' "$work/site/$page.html"
    } >"$work/$name.html"
    views="${views-} $name:360:day $name:1100:night"
done
# shellcheck source=test/cmd/views.sh
. "$here/views.sh"
look
plan
