"""tools/bench_inference's dealings with ONNX Runtime: turns, ratios, and what it says where there is none."""
import json
import os
import subprocess
import unittest

import tool_case

BENCH = tool_case.binary("tools/bench_inference")

# Stands for Python: writes down its arguments ($2: the file, $3: the batch, $4: threads).
PYTHON = """#!/bin/sh
test -s "$2" || exit 1
echo "$3 $4" >> "$(dirname "$0")/calls"
echo "a warning" >&2
echo '{"ms": 7.5, "version": "9.9"}'
"""
ABSENT = """#!/bin/sh
echo "ModuleNotFoundError: No module named 'onnxruntime'" >&2
exit 1
"""


class BenchInferenceTest(unittest.TestCase):
    def bench(self, python, *args):
        self.folder = tool_case.stand_in_python(self, python)
        return subprocess.run([BENCH, "--seconds", "0.01", "--threads", "1", "--python", self.folder + "/python", *args],
                              stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout

    def test_the_two_take_turns(self):
        rows = json.loads(self.bench(PYTHON, "resnet20", "--batch", "3", "1", "--rounds", "2", "--json"))["bench_inference"]
        with open(os.path.join(self.folder, "calls")) as f:
            self.assertEqual(f.read(), 2 * "3 1\n" + 2 * "1 1\n")
        self.assertEqual([row["batch"] for row in rows], [3, 1])
        for row in rows:
            self.assertEqual((row["onnxruntime_ms"], row["onnxruntime_version"], len(row["ratios"])), (7.5, "9.9", 2))
            self.assertAlmostEqual(row["images_per_second"], 1000 * row["batch"] / row["ms"])
            self.assertLess(3 * row["file_bytes"], row["fp32_bytes"])

    def test_a_python_without_onnxruntime_is_said(self):
        out = self.bench(ABSENT, "resnet20", "--batch", "1", "--rounds", "1")
        self.assertIn("no ONNX Runtime: give --python a Python that has onnxruntime", out)
        self.assertNotIn("failed", out)


if __name__ == "__main__":
    tool_case.main()
