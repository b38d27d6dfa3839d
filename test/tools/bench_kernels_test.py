"""tools/bench_kernels: every operation runs once, and PyTorch's numbers stand beside ours."""
import json
import os
import subprocess
import unittest

import tool_case

BENCH = tool_case.binary("tools/bench_kernels")

# Stands for Python: writes down its arguments but the script.
PYTHON = """#!/bin/sh
shift
echo "$@" > "$(dirname "$0")/calls"
echo "a warning" >&2
echo '{"version": "9.9", "fake_quantize nhwc": 1e9}'
"""


class BenchKernelsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tool_case.stand_in_python(self, PYTHON)

    def bench(self, *args):
        return subprocess.run([BENCH, "--rounds", "2", "--pixels", "3", "--threads", "1", *args],
                              stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout

    def test_rows(self):
        rows = json.loads(self.bench("--json", "--python", self.folder + "/python"))["bench_kernels"]
        with open(os.path.join(self.folder, "calls")) as f:
            self.assertEqual(f.read(), "3 1 2\n")
        self.assertEqual(len(rows), len({(r["op"], r["layout"]) for r in rows}))
        for row in rows:
            self.assertEqual(row["elements"], 64 * 3 * 64)
            self.assertGreater(row["microseconds"], 0)
            self.assertGreater(row["gb_per_second"], 0)
            # The one operation that "PyTorch" timed: a thousand seconds.
            timed = (row["op"], row["layout"]) == ("fake_quantize", "nhwc")
            self.assertEqual(row.get("torch_microseconds"), 1e9 if timed else None)
            if timed:
                self.assertAlmostEqual(row["torch_ratio"] * row["microseconds"] / 1e9, 1.0)

    def test_table_without_torch(self):
        table = self.bench("--only", "lsq_backward", "--python", self.folder + "/nothing")
        self.assertIn("PyTorch not run: give --python", table)
        self.assertEqual(table.count("lsq_backward"), 3)


if __name__ == "__main__":
    tool_case.main()
