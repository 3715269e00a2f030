# SPDX-License-Identifier: MIT
"""Takes the programs out of a tutorial: notebook.py DOCUMENT FOLDER

A block of C says in its first line what it is. A whole program:

    /* pi.c */

One that is another with changes, where a definition takes the place of that of the same
name, and one of a new name goes before the next that has a place:

    /* pool.c: as pi.c, but */

A block of sh is run, and the text that follows it, if one does, is what it prints. Lines
before it: <!-- needs: WORD... -->, <!-- not run: REASON -->; the latter also before a text
that comes from elsewhere. No block is anything else.

Writes NAME.c for each program, and NN.sh, NN.text, and NN.needs or NN.not for each run.
"""
import os
import re
import sys


def fail(line, what):
    sys.exit(f"{sys.argv[1]}:{line}: {what}")


def blocks(lines):
    """Each as its language, the line that it begins in, its lines, and the mark before."""
    language, begun, body, mark = None, 0, [], ""
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"```(\S*)", line)
        if language is None and fence:
            language, begun, body = fence[1], number, []
        elif language is not None and line == "```":
            yield language, begun, body, mark
            language, mark = None, ""
        elif language is not None:
            body.append(line)
        elif line.startswith(("<!-- needs: ", "<!-- not run: ")):
            mark = line
        elif line and not line.startswith("<!-- "):
            mark = ""
        if language is None and "```" in line and not fence:
            fail(number, "a fence with words before or after it")
    if language is not None:
        fail(begun, "a block without an end")


def name_of(text, line):
    """What an item of a program defines."""
    first = next(row for row in text if not row.startswith(("/*", " *")))
    for pattern in (r"#include .*", r"#define \w+", r"struct \w+(?= \{)", r"enum \{ \w+"):
        found = re.match(pattern, first)
        if found:
            return found[0]
    found = re.match(r"[\w *]+?(\w+)\(", first) or \
        re.match(r"[\w *]+?(\w+)(?:\[\w*\])*(?: = .*|;.*)$", first)
    if not found:
        fail(line, f"what is this: {first}")
    return found[1]


def items(body, line):
    """The definitions of a program: name, lines, and whether a blank line is before."""
    found, text, depth, blank, comment = [], [], 0, False, False
    for offset, row in enumerate(body, 1):
        if not row and not text:
            blank = True
            continue
        text.append(row)
        comment = "*/" not in row if comment or row.startswith("/*") else False
        if comment or row.startswith(("/*", " */")):
            continue
        depth += row.count("{") - row.count("}")
        code = re.sub(r"\s*/\*.*\*/$", "", row)
        if depth == 0 and (code.endswith((";", "}")) or row.startswith("#")):
            found.append((name_of(text, line + offset), text, blank))
            text, blank = [], False
    if text:
        fail(line, "a definition without an end")
    names = [name for name, _, _ in found]
    if len(set(names)) != len(names):
        fail(line, "a name is defined twice")
    return found


def changed(base, changes, line):
    """base with the changes in it."""
    made, fresh, place = list(base), [], None
    for name, text, blank in changes:
        names = [item[0] for item in made]
        if name not in names:
            fresh.append((name, text, blank))
            continue
        at = names.index(name)
        if made[at][1] == text:
            fail(line, f"{name} is as it was")
        made[at:at + 1] = fresh + [(name, text, made[at][2])]
        place, fresh = at + len(fresh) + 1, []
    if place is None:
        place = [item[0] for item in made].index("main")
    made[place:place] = fresh
    heads = sorted(item for item in made if item[0].startswith("#include"))
    return heads + [item for item in made if item not in heads]


def text_of(program):
    rows, before = [], ""
    for name, text, blank in program:
        head = name.startswith("#")
        if rows and (blank or head != before.startswith("#") or
                     len(text) > 1 or rows[-1] == "}"):
            rows.append("")
        rows += text
        before = name
    return "\n".join(rows) + "\n"


def main():
    document, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)

    def write(name, text):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    programs, runs, previous = {}, 0, ""
    with open(document, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for language, line, body, mark in blocks(lines):
        if language == "c":
            head = re.fullmatch(r"/\* ([\w-]+)\.c(?:: as ([\w-]+)\.c, but)? \*/", body[0])
            if not head:
                fail(line, "C that does not say what it is")
            name, base = head.groups()
            if name in programs:
                fail(line, f"{name}.c is there already")
            if base and base not in programs:
                fail(line, f"{base}.c is not there")
            found = items(body[1:], line + 1)
            programs[name] = changed(programs[base], found, line) if base else found
            write(name + ".c", text_of(programs[name]))
        elif language == "sh":
            runs += 1
            write(f"{runs:02}.sh", "\n".join(body) + "\n")
            write(f"{runs:02}.text", "")
            found = re.fullmatch(r"<!-- (needs|not run): (.+) -->", mark)
            if found:
                write(f"{runs:02}.{found[1].split()[0]}", found[2] + "\n")
        elif language == "text" and previous == "sh":
            write(f"{runs:02}.text", "\n".join(body) + "\n")
        elif language != "text" or not mark.startswith("<!-- not run: "):
            fail(line, f"a block of '{language}' that nobody checks")
        previous = language


main()
