"""The examples run, and say what their comments promise."""
import re
import subprocess
import unittest

import tool_case


def run(name):
    return subprocess.run([tool_case.binary("examples/" + name)], check=True, stdout=subprocess.PIPE, text=True).stdout


class ExamplesTest(unittest.TestCase):
    def test_tensor_and_gradient(self):
        out = run("tensor_and_gradient")
        self.assertIn("y = 6.5\n", out)
        self.assertIn("dy/dw = 3\n", out)
        self.assertIn("expected operand of shape [1, 3], found [2, 2]", out)

    def test_train_a_cnn(self):
        accuracies = [float(a) for a in re.findall(r"test accuracy ([0-9.]+) %", run("train_a_cnn"))]
        self.assertEqual(len(accuracies), 2)
        self.assertGreater(accuracies[-1], 96)  # chance is 10; 98.1 when this was written

    def test_quantize_it(self):
        out = run("quantize_it")
        accuracies = [float(a) for a in re.findall(r"accuracy on codes ([0-9.]+) %", out)]
        self.assertEqual(len(accuracies), 3)
        self.assertGreater(accuracies[-1], 96)  # 98.9 when this was written
        self.assertIn("epoch 3, trained on codes", out)


if __name__ == "__main__":
    tool_case.main()
