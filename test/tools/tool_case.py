"""What the tests of the tools share."""
import importlib.machinery
import importlib.util
import os
import sys
import unittest

sys.dont_write_bytecode = True
TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools")


def binary(path):
    """The built program PATH, "tools/halftone": of this test under Bazel, else what was built last."""
    under_bazel = os.path.join(os.environ.get("TEST_SRCDIR", ""), "halftone", path)
    return under_bazel if os.path.exists(under_bazel) else os.path.join(TOOLS, "..", "bazel-bin", path)


def load(name):
    """tools/NAME as a module, whatever its suffix."""
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(TOOLS, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def main():
    """unittest.main, then the line tools/test counts."""
    result = unittest.main(module="__main__", exit=False).result
    bad = len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    sys.stdout.flush()
    print("halftone-tests: %d passed, %d failed, %d skipped"
          % (result.testsRun - bad - skipped, bad, skipped))
    sys.exit(bad != 0)
