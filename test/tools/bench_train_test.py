"""tools/bench_train's dealings with PyTorch: a process per form, and what it says about forms that fail."""
import json
import os
import subprocess
import unittest

import tool_case

BENCH = tool_case.binary("tools/bench_train")

# Stands for Python: writes down its arguments; $6 is the form, $7 the quantizer.
PYTHON = """#!/bin/sh
echo "$6 $7 $#" >> "$(dirname "$0")/calls"
case $6 in
  eager) echo "a warning" >&2; echo '{"form": "eager", "ms": 3.0, "peak_bytes": 7000000}' ;;
  compile) echo "Traceback" >&2; echo "OSError: no C++ compiler" >&2; exit 1 ;;
  channels_last) echo "ModuleNotFoundError: No module named 'torch'" >&2; exit 1 ;;
esac
"""


class BenchTrainTest(unittest.TestCase):
    def setUp(self):
        self.folder = tool_case.stand_in_python(self, PYTHON)

    def bench(self, *args, rounds="1"):
        return subprocess.run([BENCH, "lenet5", "--steps", "1", "--threads", "1", "--rounds", rounds, "--python", self.folder + "/python", *args],
                              stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout

    def test_numbers_that_count_nothing_are_refused(self):
        for option in ["--steps", "--threads"]:
            done = subprocess.run([BENCH, "lenet5", option, "-5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(option, done.stderr)

    def test_every_form_has_a_process_of_its_own(self):
        rows = json.loads(self.bench("--forms", "eager", "compile", "--json"))["bench_train"]
        with open(os.path.join(self.folder, "calls")) as f:
            self.assertEqual(f.read(), "eager float 7\ncompile float 7\n")
        self.assertEqual(rows[0]["torch_peak_bytes"], 7000000)
        self.assertEqual(rows[0]["torch"][1], {"form": "compile", "error": "OSError: no C++ compiler"})

    def test_rounds_repeat_the_fastest_form(self):
        rows = json.loads(self.bench("--forms", "eager", "compile", "--json", rounds="3"))["bench_train"]
        with open(os.path.join(self.folder, "calls")) as f:
            self.assertEqual(f.read(), "eager float 7\ncompile float 7\n" + 2 * "eager float 7\n")
        self.assertEqual(len(rows[0]["ratios"]), 3)
        self.assertEqual(rows[0]["ratio"], sorted(rows[0]["ratios"])[1])

    def test_a_form_that_fails_is_named_with_the_last_line_it_said(self):
        for forms in [["compile"], ["eager", "compile"]]:
            out = self.bench("--forms", *forms)
            self.assertIn("PyTorch, compile, failed: OSError: no C++ compiler", out)
            self.assertNotIn("no PyTorch", out)

    def test_a_python_without_torch_is_said(self):
        out = self.bench("--forms", "channels_last")
        self.assertIn("no PyTorch: give --python a Python that has torch", out)
        self.assertNotIn("failed", out)

    def test_quantized_steps_are_measured_beside_the_float_ones(self):
        rows = json.loads(self.bench("--quantizers", "qat8,bnn", "--forms", "eager", "--json"))["bench_train"]
        with open(os.path.join(self.folder, "calls")) as f:
            self.assertEqual(f.read(), "eager float 7\neager qat8 7\neager bnn 7\n")
        self.assertEqual([r["quantizer"] for r in rows], ["float", "qat8", "bnn"])
        for row in rows:
            self.assertAlmostEqual(row["x_float"], row["ms_per_step"] / rows[0]["ms_per_step"])
            self.assertEqual(row["torch_x_float"], 1)
        self.assertEqual(rows[1]["float_layers"], {})
        self.assertEqual(list(rows[2]["float_layers"]), ["conv1"])  # images stay as they are

    def test_every_network_takes_every_quantizer_without_allocations(self):
        rows = json.loads(self.bench("--quantizers", "all", "--forms", "eager", "--json"))["bench_train"]
        self.assertEqual(len(rows), 6)
        for row in rows:
            self.assertEqual((row["quantizer"], row["allocations_in_steady_state"]), (row["quantizer"], 0))

    @unittest.skipIf(os.path.exists("/dev/nvidia0"), "there is a GPU")
    def test_a_device_that_is_not_there_is_said_in_one_line(self):
        run = subprocess.run([BENCH, "lenet5", "--device", "cuda"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertRegex(run.stderr, r"\Abench_train: --device: expected a CUDA device, found .*\n\Z")

    def test_a_batch_that_was_asked_for(self):
        row = json.loads(self.bench("--batch", "3", "--forms", "eager", "--json"))["bench_train"][0]
        self.assertEqual((row["batch"], row["device"]), (3, "cpu"))
        self.assertAlmostEqual(row["ratio_to_eager"], 3.0 / row["ms_per_step"])

    def test_an_unknown_quantizer_is_refused(self):
        run = subprocess.run([BENCH, "--quantizers", "qat9"], stderr=subprocess.PIPE, universal_newlines=True)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("qat9", run.stderr)


if __name__ == "__main__":
    tool_case.main()
