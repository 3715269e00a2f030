# SPDX-License-Identifier: MIT
"""The examples say the same by python3 and by python3 -m tine."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
NUMBERS = ["9", "97", "101", "441", "961", "10403", "112272535095295", "10000000019",
           "4295098369", "18014398241046527"]
ARGUMENTS = {
    "pool_pi": ["20000", "3"],
    "joblib_pi": ["20000", "3"],
    "cached_pi": ["20000", "3", "FOLDER"],
    "cached_numpy_pi": ["20000", "3", "FOLDER"],
    "search_queues": ["10000", "11000", "3"],
    "verify_naive": NUMBERS[:-1],
    "verify_less_naive": NUMBERS[:-1],
    "verify_flagged": NUMBERS[:-1],
}


class Examples(unittest.TestCase):
    def run_it(self, options: list[str], name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            arguments = [folder if word == "FOLDER" else word for word in ARGUMENTS[name]]
            done = subprocess.run([sys.executable, *options, EXAMPLES / f"{name}.py",
                                   *arguments], capture_output=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    def test_all_of_them(self) -> None:
        self.assertEqual({path.stem for path in EXAMPLES.glob("*.py")}, set(ARGUMENTS))
        for name in ARGUMENTS:
            with self.subTest(name=name):
                if "joblib" in name or "cached" in name:
                    try:
                        import joblib, numpy  # noqa: E401, F401
                    except ImportError:
                        continue
                said = self.run_it([], name)
                self.assertEqual(self.run_it(["-m", "tine"], name), said)
                if name.startswith("verify"):
                    self.assertEqual(said, b"[False, True, True, False, False, False, "
                                           b"False, True, False]\n")


if __name__ == "__main__":
    unittest.main()
