# SPDX-License-Identifier: MIT
"""Programs do over tine what they do without it: what each of programs/ prints."""
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent / "programs"
PATIENCE = 120  # seconds


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=PATIENCE, check=False,
                          env=dict(os.environ, PYTHONWARNINGS="ignore"))
    text = re.sub(r"0x[0-9a-f]+", "0x", done.stdout)
    return done.returncode, text.replace("tine.multiprocessing.", "multiprocessing.")


class Same(unittest.TestCase):
    """With a test for each program, by its name."""

    maxDiff = None

    def judge(self, path: Path) -> None:
        code, text = run(str(path))
        if code == 77:
            self.skipTest(text)
        self.assertEqual(code, 0, text)
        self.assertEqual(run("-m", "tine", str(path)), (code, text))


def test_of(path: Path):
    return lambda self: self.judge(path)


for program in sorted(PROGRAMS.glob("*.py")):
    setattr(Same, f"test_{program.stem}", test_of(program))


if __name__ == "__main__":
    unittest.main()
