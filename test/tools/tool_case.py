"""What the tests of the tools share."""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
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


def stand_in_python(case, script):
    """A folder of the test's own, with an apostrophe in its name, and SCRIPT in it as the program "python"."""
    temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
    case.addCleanup(temp.cleanup)
    folder = os.path.join(temp.name, "it's")
    os.mkdir(folder)
    with open(os.path.join(folder, "python"), "w") as f:
        f.write(script)
    os.chmod(f.name, 0o755)
    return folder


class CommandCase(unittest.TestCase):
    """Calls of PROGRAM in a folder of the test's own."""
    PROGRAM = binary("tools/halftone")

    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(self.temp.cleanup)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def call(self, *args, program=PROGRAM, code=0):
        done = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.temp.name)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def fails(self, *args, program=PROGRAM):
        """What the call said, in one line, as it failed."""
        done = self.call(*args, program=program, code=1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        return done.stderr


def main():
    """unittest.main, then the line tools/test counts."""
    result = unittest.main(module="__main__", exit=False).result
    bad = len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    sys.stdout.flush()
    print("halftone-tests: %d passed, %d failed, %d skipped"
          % (result.testsRun - bad - skipped, bad, skipped))
    sys.exit(bad != 0)
