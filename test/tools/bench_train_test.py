"""tools/bench_train's dealings with PyTorch: a process per form, and what it says about forms that fail."""
import json
import os
import subprocess
import tempfile
import unittest

import tool_case

BENCH = tool_case.binary("tools/bench_train")

# Stands for Python: writes down its arguments; $6 is the form.
PYTHON = """#!/bin/sh
echo "$6 $#" >> "$(dirname "$0")/calls"
case $6 in
  eager) echo "a warning" >&2; echo '{"form": "eager", "ms": 3.0, "peak_bytes": 7000000}' ;;
  compile) echo "Traceback" >&2; echo "OSError: no C++ compiler" >&2; exit 1 ;;
  channels_last) echo "ModuleNotFoundError: No module named 'torch'" >&2; exit 1 ;;
esac
"""


class BenchTrainTest(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(temp.cleanup)
        self.folder = os.path.join(temp.name, "it's")
        os.mkdir(self.folder)
        with open(os.path.join(self.folder, "python"), "w") as f:
            f.write(PYTHON)
        os.chmod(f.name, 0o755)

    def bench(self, *args):
        return subprocess.run([BENCH, "lenet5", "--steps", "1", "--threads", "1", "--python", self.folder + "/python", *args],
                              stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout

    def test_every_form_has_a_process_of_its_own(self):
        rows = json.loads(self.bench("--forms", "eager", "compile", "--json"))["bench_train"]
        with open(os.path.join(self.folder, "calls")) as f:
            self.assertEqual(f.read(), "eager 6\ncompile 6\n")
        self.assertEqual(rows[0]["torch_peak_bytes"], 7000000)
        self.assertEqual(rows[0]["torch"][1], {"form": "compile", "error": "OSError: no C++ compiler"})

    def test_a_form_that_fails_is_named_with_the_last_line_it_said(self):
        for forms in [["compile"], ["eager", "compile"]]:
            out = self.bench("--forms", *forms)
            self.assertIn("PyTorch, compile, failed: OSError: no C++ compiler", out)
            self.assertNotIn("no PyTorch", out)

    def test_a_python_without_torch_is_said(self):
        out = self.bench("--forms", "channels_last")
        self.assertIn("no PyTorch: give --python a Python that has torch", out)
        self.assertNotIn("failed", out)


if __name__ == "__main__":
    tool_case.main()
