# SPDX-License-Identifier: MIT
"""Takes the programs out of the manual: manual.py FOLDER DOCUMENT...

A block says in its first line what it is: of C /* pi.c */, or /* pi.c: cc -fopenmp */ if
it is built by more than a C compiler and tine; of Python # pi.py.

A block of sh is run, and the text that follows it, if one does, is what it prints. Lines
before a block: <!-- needs: WORD... -->, <!-- not run: REASON -->; the latter also before a
text that comes from elsewhere. Another block is a file that the page's programs use, if a
line before it names it: <!-- file: NAME -->. No block is anything else.

Writes each program and file, PROGRAM.cc for the commands that build it, and NNN.sh, NNN.text,
NNN.page, and NNN.needs or NNN.not for each run.
"""
import os
import re
import sys

MARKS = ("<!-- needs: ", "<!-- not run: ", "<!-- file: ")


def blocks(document, lines):
    """Each as its language, where it begins, its lines, and the mark before."""
    language, begun, body, mark = None, 0, [], ""
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"```(\S*)", line)
        if language is None and fence:
            language, begun, body = fence[1], number, []
        elif language is not None and line == "```":
            yield language, f"{document}:{begun}", body, mark
            language, mark = None, ""
        elif language is not None:
            body.append(line)
        elif line.startswith(MARKS):
            mark = line
        elif line and not line.startswith("<!-- "):
            mark = ""
        if language is None and "```" in line and not fence:
            sys.exit(f"{document}:{number}: a fence with words before or after it")
    if language is not None:
        sys.exit(f"{document}:{begun}: a block without an end")


class Writer:
    """What has been written to the folder."""

    def __init__(self, folder):
        self.folder, self.files, self.runs = folder, set(), 0

    def write(self, name, lines):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))

    def program(self, name, lines, where):
        if name in self.files:
            sys.exit(f"{where}: {name} is there already")
        self.files.add(name)
        self.write(name, lines)

    def run(self, lines, page, mark):
        self.runs += 1
        self.write(f"{self.runs:03}.sh", lines)
        self.write(f"{self.runs:03}.text", [])
        self.write(f"{self.runs:03}.page", [page])
        found = re.fullmatch(r"<!-- (needs|not run): (.+) -->", mark)
        if found:
            self.write(f"{self.runs:03}.{found[1].split()[0]}", [found[2]])


def take(writer, document):
    previous = ""
    with open(document, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for language, where, body, mark in blocks(document, lines):
        c = re.fullmatch(r"/\* ([\w-]+\.c)(?:: (.+))? \*/", body[0])
        python = re.fullmatch(r"# ([\w-]+\.py)", body[0])
        named = re.fullmatch(r"<!-- file: (\S+) -->", mark)
        if language == "c" and c:
            writer.program(c[1], body, where)
            if c[2]:
                writer.write(c[1] + "c", [c[2]])
        elif language == "python" and python:
            writer.program(python[1], body, where)
        elif named:
            writer.program(named[1], body, where)
        elif language == "sh":
            writer.run(body, os.path.basename(document), mark)
        elif language == "text" and previous == "sh":
            writer.write(f"{writer.runs:03}.text", body)
        elif language != "text" or not mark.startswith("<!-- not run: "):
            sys.exit(f"{where}: a block of '{language}' that nobody checks")
        previous = language


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    writer = Writer(sys.argv[1])
    for document in sys.argv[2:]:
        take(writer, document)


main()
