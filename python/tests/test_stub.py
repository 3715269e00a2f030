# SPDX-License-Identifier: MIT
"""The annotations of the extension name nothing that it has not."""
import ast
import unittest
from pathlib import Path

import tine
from tine import _core

HIDDEN = {"CacheValue", "_Handle"}  # of annotations alone


def names(body):
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id


def public(names):
    return {name for name in names if not name.startswith("__")} - HIDDEN


class Stub(unittest.TestCase):
    def test_names(self) -> None:
        text = (Path(tine.__file__).parent / "_core.pyi").read_text("ascii")
        tree = ast.parse(text)
        self.assertLessEqual(public(names(tree.body)), public(vars(_core)))
        kinds = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for name, node in kinds.items():
            if name in HIDDEN:
                continue
            wanted = set(names(node.body))
            for base in node.bases:
                wanted |= set(names(kinds[base.id].body))
            self.assertLessEqual(public(wanted), public(vars(getattr(_core, name))), name)


if __name__ == "__main__":
    unittest.main()
