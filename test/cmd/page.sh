#!/bin/sh
# SPDX-License-Identifier: MIT
# The page of tine tour, and one of extremes that test/page.c makes up: as text, and as a
# browser shows it on a phone and on a desk, by day, by night and on paper.
# shellcheck source=test/cmd/lib.sh
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")

runs 0 tour --quick --html "$work/tour.html"
result $? "a tour writes its page"
mkdir "$work/traces"
"$BUILD/test/made-up-page" "$work/traces" >"$work/made-up.html"
result $? "one of extremes"

# static PAGE: it is well-formed, and complete in itself.
static() {
    /usr/bin/python3 - "$1" <<'END_OF_PYTHON'
import html.parser, re, sys

EMPTY = {"meta", "br", "hr", "img", "link", "input"}

class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.headings, self.found = [], [], [], [], []
        self.rects, self.figures = 0, 0

    def handle_startendtag(self, tag, attributes):
        self.look(tag, dict(attributes))

    def handle_starttag(self, tag, attributes):
        self.look(tag, dict(attributes))
        if tag not in EMPTY:
            self.open.append((tag, self.getpos()))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.found.append(f"</{tag}> at {self.getpos()} in {self.open[-2:]}")
        if self.open:
            name = self.open.pop()[0]
            if name == "svg" and self.rects > 2000:
                self.found.append(f"{self.rects} rectangles in a picture")

    def look(self, tag, attributes):
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "svg":
            self.rects = 0 if "svg" not in [name for name, _ in self.open] else self.rects
        self.rects += tag == "rect"
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in ("script", "link", "img", "iframe", "object", "base"):
            self.found.append(f"<{tag}> at {self.getpos()}")
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "data", "action", "xlink:href"):
                self.links.append(value)
            if name.startswith("on") or name == "style":
                self.found.append(f"{name} at {self.getpos()}")
        if tag == "html" and not attributes.get("lang"):
            self.found.append("no language")

text = open(sys.argv[1], encoding="utf-8").read()
page = Page()
page.feed(text)
page.close()
found = page.found
found += [f"<{tag}> at {where} is not closed" for tag, where in page.open]
found += [f"two of id {each}" for each in set(page.ids) if page.ids.count(each) > 1]
found += [f"link to {each}" for each in page.links
          if not each.startswith("#") or each[1:] not in page.ids]
found += re.findall(r"url\((?!#)[^)]*\)|@import[^;]*", text)
if page.headings[:1] != [1] or page.headings.count(1) != 1:
    found.append("not one heading above all")
found += [f"h{after} after h{before}" for before, after
          in zip(page.headings, page.headings[1:]) if after > before + 1]
if not re.match("<!DOCTYPE html>", text) or not re.search("<title>[^<]+</title>", text):
    found.append("no type or title")
found += re.findall(r".{0,30}\b(?:nan|inf|\(null\))\b.{0,30}", text)
for each in found:
    print("#", each)
sys.exit(bool(found))
END_OF_PYTHON
}

for page in tour made-up; do
    static "$work/$page.html"
    result $? "$page: well-formed, and needs nothing else"
done
[ "$(wc -c <"$work/made-up.html")" -lt 1000000 ]
result $? "a long trace makes no large page"

# First what it all comes to, in a sentence and a picture.
/usr/bin/python3 - "$work/tour.html" <<'END'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
lead = re.search(r'<p class="lead">([^<]*)</p>', text)
assert re.match(r"With \d+ workers?, this machine .*\.$", lead[1]), lead
assert lead.start() < text.index("<figure>") < text.index("<table>")
assert text.index('aria-label="Times as fast') < text.index('<section')
END
result $? "a sentence and a picture come before the table"

# The code is what is in the source, between its marks.
/usr/bin/python3 - "$work/tour.html" "$here/../../cmd/tour" <<'END'
import html, os, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
source = "".join(open(os.path.join(sys.argv[2], name)).read() for name in
                 ("pi.c", "primes.c", "check.c", "kill.c"))
lines = {line.strip() for line in source.splitlines()}
shown = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", text, re.S)
shown = [html.unescape(re.sub("<[^>]*>", "", each)) for each in shown]
assert len(shown) > 8, len(shown)
for part in shown:
    assert "[end]" not in part and not part.startswith("\n"), part
    assert any(line and line[0] != "\t" for line in part.splitlines()), part
    for line in part.splitlines():
        assert line.strip() in lines, line
END
result $? "the code is that of the source"
grep -o 'doc/course/[0-9a-z-]*\.md' "$work/tour.html" >"$work/chapters"
[ "$(sort -u "$work/chapters" | wc -l)" -eq 8 ] && (cd "$here/../.." && xargs ls) \
    <"$work/chapters" >/dev/null
result $? "each lesson names its chapter"
[ "$(grep -o '<svg class="chart' "$work/tour.html" | wc -l)" -ge 5 ]
result $? "there are pictures"

# What a summary has: each program, and why not.
/usr/bin/python3 - "$work/made-up.html" <<'END'
import sys
text = open(sys.argv[1], encoding="utf-8").read()
summary = text[text.index("<table>"):text.index("</table>")]
assert summary.count('scope="row"') == 24, summary.count('scope="row"')
assert summary.count(">failed<") == 2 and summary.count("left out") == 2
assert "4.00 ns" in summary and "µs" in summary and "1.00x" in summary
assert text.count('class="death"') >= 6
assert "died, signal 9" in text and "died, signal 11" in text
assert "123 pieces of work are missing" in text
assert text.count('<circle class="dot"') == 32
assert text.count('<circle class="dot python"') == 32
END
result $? "what failed, what was left out, and who died"

views="tour:360:day tour:1100:night made-up:360:day made-up:360:night made-up:1100:day
    made-up:700:paper"
# shellcheck source=test/cmd/views.sh
. "$here/views.sh"
look

if [ -z "$browser" ]; then
    skip "print" "there is no chromium"
else
    browse "--print-to-pdf=$work/page.pdf" "file://$work/made-up.html" >/dev/null
    [ "$(head -c 5 "$work/page.pdf")" = %PDF- ] &&
        [ "$(grep -ac '/Type /Page$' "$work/page.pdf")" -ge 5 ]
    result $? "print"
fi
plan
