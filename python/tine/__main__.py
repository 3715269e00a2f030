"""python3 -m tine [-m MODULE | -c TEXT | SCRIPT | -] [ARGUMENT...]

Runs a program as python3 does, with multiprocessing and joblib over tine.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from types import CodeType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def fail(text: str, code: int) -> None:
    print(text, file=sys.stderr)
    sys.exit(code)


def put_first(folder: str) -> None:
    """In the place of what python3 -m has put first."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def find_in(folder: str) -> tuple[CodeType, dict[str, Any]]:
    """A folder, or an archive, whose __main__ is the program."""
    put_first(folder)
    spec = importlib.machinery.PathFinder.find_spec("__main__", [folder])
    if spec is None:
        fail(f"{sys.executable}: can't find '__main__' module in "
             f"{os.path.abspath(folder)!r}", 1)
    return load(spec)


def find_module(name: str) -> tuple[CodeType, dict[str, Any]]:
    """As python3 -m does: of a package, its module __main__."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        fail(f"{sys.executable}: Error while finding module specification for {name!r} "
             f"({type(error).__name__}: {error})", 1)
    if spec is None:
        fail(f"{sys.executable}: No module named {name}", 1)
    sys.argv[0] = getattr(spec, "origin", None) or name
    return load(spec)


def load(spec: Any) -> tuple[CodeType, dict[str, Any]]:
    loader: Any = spec.loader
    code = loader.get_code(spec.name) if hasattr(loader, "get_code") else None
    if code is None:
        fail(f"{sys.executable}: No code object available for {spec.name}", 1)
    return code, {"__file__": spec.origin, "__cached__": spec.cached, "__spec__": spec,
                  "__loader__": loader, "__package__": spec.parent}


def find_script(path: str) -> tuple[CodeType, dict[str, Any]]:
    if path == "-":
        put_first("")
        return compile(sys.stdin.buffer.read(), "<stdin>", "exec"), {}
    if os.path.isdir(path):
        return find_in(path)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        fail(f"{sys.orig_argv[0]}: can't open file {os.path.abspath(path)!r}: "
             f"[Errno {error.errno}] {error.strerror}", 2)
    if text.startswith(b"PK\3\4"):
        return find_in(path)
    put_first(os.path.dirname(os.path.realpath(path)))
    path = os.path.join(os.getcwd(), path)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    return compile(text, path, "exec"), {"__file__": path, "__cached__": None,
                                         "__loader__": loader}


def find(arguments: list[str]) -> tuple[CodeType, dict[str, Any]]:
    if not arguments:
        fail(f"usage: {__doc__}", 2)
    kind = arguments[0]
    if kind not in ("-c", "-m"):
        if kind.startswith("-") and kind != "-":
            fail(f"unknown option {kind}\nusage: {__doc__}", 2)
        sys.argv[:] = arguments
        return find_script(kind)
    if len(arguments) < 2:
        fail(f"Argument expected for the {kind} option\nusage: {__doc__}", 2)
    sys.argv[:] = [kind, *arguments[2:]]
    if kind == "-m":
        return find_module(arguments[1])
    put_first("")
    if sys.version_info >= (3, 13):  # whose tracebacks show these lines too
        import linecache
        text = arguments[1]
        linecache.cache["<string>"] = (len(text), None, text.splitlines(True), "<string>")
    return compile(arguments[1], "<string>", "exec"), {}


def hide_own_frames() -> None:
    """Of an exception that ends the program only its own frames are shown."""
    hook = sys.excepthook

    def show(kind: Any, error: Any, trace: Any) -> None:
        while trace is not None and trace.tb_frame.f_globals is not program:
            trace = trace.tb_next
        hook(kind, error.with_traceback(trace), trace)
    sys.excepthook = show


program: dict[str, Any] = {}


def main() -> None:
    global program
    from tine._patch import patch
    patch()
    # Spawned processes, and pickles, look at this name for the program.
    module = ModuleType("__main__")
    sys.modules["tine.__main__"] = sys.modules["__main__"]
    program = vars(module)
    try:
        code, values = find(sys.argv[1:])
        sys.modules["__main__"] = module
        program.update(values)
        program["__builtins__"] = sys.modules["builtins"]
        program.setdefault("__annotations__", {})
        exec(code, program)
    except SystemExit:
        raise
    except BaseException:
        hide_own_frames()
        raise


if __name__ == "__main__":
    main()
