# SPDX-License-Identifier: MIT
import os
import unittest

from tine import _core


class Family(unittest.TestCase):
    def test_child_is_of_the_family(self) -> None:
        _core.begin()
        own = _core.family_id()
        self.assertNotEqual(own, 0)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, str(_core.family_id()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual(int(os.read(read, 100)), own)
        os.close(read)
        os.close(write)

    def test_joining_another_is_refused(self) -> None:
        _core.begin()
        with self.assertRaises(OSError), open(os.devnull, "rb") as file:
            _core.join(file.fileno())


if __name__ == "__main__":
    unittest.main()
