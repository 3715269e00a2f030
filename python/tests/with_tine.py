# SPDX-License-Identifier: MIT
"""Tests of others with tine's classes in the place of those that they test.

with_tine.py futures TEST...: CPython's of concurrent.futures, by the names of unittest
with_tine.py context TEST...: the same, of CPython's executor over tine's contexts
with_tine.py joblib FILE...: joblib's, by pytest; backend and store are tine's
"""
import sys
import unittest


def futures(names):
    from concurrent import futures as package
    from concurrent.futures import process

    from tine.futures import ProcessPoolExecutor
    package.ProcessPoolExecutor = process.ProcessPoolExecutor = ProcessPoolExecutor
    run(names)


def context(names):
    import tine
    tine.patch()
    run(names)


def run(names):
    from test import test_concurrent_futures
    suite = unittest.TestLoader().loadTestsFromNames(names, test_concurrent_futures)
    unittest.TextTestRunner(sys.stdout, verbosity=2).run(suite)


def joblib(args):
    import joblib.memory
    import joblib.parallel
    import pytest

    from tine.joblib import TineBackend, TineStoreBackend
    joblib.parallel.BACKENDS["multiprocessing"] = TineBackend
    joblib.memory._STORE_BACKENDS["local"] = TineStoreBackend
    return pytest.main(["-q", "-p", "no:cacheprovider", "--tb=short", "-rA", *args])


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](sys.argv[2:]))
