# SPDX-License-Identifier: MIT
"""What the package tells mypy --strict of its names."""
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import tine

SITE = Path(tine.__file__).resolve().parent.parent
TYPED = Path(__file__).resolve().parent / "typed.py"
MYPY = next((path for path in (sys.executable, "/usr/bin/python3")
             if subprocess.run([path, "-c", "import mypy"], capture_output=True,
                               check=False).returncode == 0), None)
HAS_NUMPY = importlib.util.find_spec("numpy") is not None


@unittest.skipUnless(MYPY, "mypy is missing")
class Types(unittest.TestCase):
    def check(self, *what: Path | str) -> list[tuple[str, int, str]]:
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(
                [MYPY, "-m", "mypy", "--strict", "--python-version", "3.11",
                 "--cache-dir", cache, *what], capture_output=True, text=True,
                check=False, cwd=SITE, env=dict(os.environ, MYPYPATH=str(SITE)))
        self.assertEqual(done.stderr, "")
        found = re.findall(r"^(\S+?):(\d+): error: (.*)", done.stdout, re.M)
        return [(Path(path).name, int(line), text) for path, line, text in found]

    def test_a_program(self) -> None:
        """It is right, but for the lines that say so."""
        lines = TYPED.read_text("ascii").splitlines()
        wrong = {i for i, line in enumerate(lines, 1) if line.endswith("# wrong")}
        found = [entry for entry in self.check(TYPED) if entry[0] == TYPED.name]
        self.assertEqual({line for _, line, _ in found}, wrong, found)

    @unittest.skipUnless(HAS_NUMPY, "numpy is missing")
    def test_package(self) -> None:
        """Of another version of mypy or numpy an exception may be one too many."""
        self.assertEqual(self.check("--no-warn-unused-ignores", "-p", "tine"), [])


if __name__ == "__main__":
    unittest.main()
