# SPDX-License-Identifier: MIT
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path


@unittest.skipUnless(os.environ.get("TEST_SOAK") and importlib.util.find_spec("mesonpy"),
                     "a wheel takes long, and mesonpy")
class Wheel(unittest.TestCase):
    def test_it_has_the_package_and_no_more(self) -> None:
        package = Path(__file__).parent.parent
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "pip", "wheel", package, "--no-deps",
                            "--no-build-isolation", "--no-index", "-w", folder, "-q"],
                           check=True, env=dict(os.environ, PATH="/usr/bin:/bin"))
            wheel, = Path(folder).iterdir()
            with zipfile.ZipFile(wheel) as archive:
                names = {name for name in archive.namelist() if "dist-info" not in name}
        self.assertIn("-cp311-abi3-", wheel.name)
        sources = {f"tine/{path.relative_to(package / 'tine')}"
                   for path in (package / "tine").rglob("*") if path.suffix in (".py", "")
                   and path.is_file()} | {"tine/py.typed", "tine/_core.abi3.so"}
        self.assertEqual(names, sources)


if __name__ == "__main__":
    unittest.main()
