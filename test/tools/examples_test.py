"""The examples run, and say what their comments promise."""
import os
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

    def test_bnn_vgg_cifar10_trains_every_recipe_and_prints_three_accuracies(self):
        program = tool_case.binary("examples/bnn_vgg_cifar10/bnn_vgg_cifar10")
        recipes = os.path.normpath(os.path.join(tool_case.TOOLS, "..", "examples", "recipes"))
        small = ["data.name=generated-colour", "data.train_samples=12", "data.test_samples=4", "epochs=1", "batch_size=4",
                 "test_batch_size=4", "schedule.warmup_epochs=0"]
        names = sorted(n for n in os.listdir(recipes) if n.startswith("bnn_vgg_cifar10_"))
        self.assertEqual([n[len("bnn_vgg_cifar10_"):-len(".yaml")] for n in names],
                         ["best", "bnn", "bnn_full", "bnn_int8", "float"])
        for name in names:
            call = [program, os.path.join(recipes, name), "--held-out", "4"]
            for value in small:
                call += ["--set", value]
            out = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout
            self.assertRegex(out, r"epoch 1/1: loss [0-9.]+, held out [0-9.]+ %, test [0-9.]+ %\n")
            self.assertRegex(out, r"last epoch +([0-9.]+) %\nbest on the test set +\1 %  epoch 1, .*\n"
                                  r"best on the held-out images +\1 %  epoch 1, ")

    def test_bnn_vgg_cifar10_says_what_is_wrong_in_one_line(self):
        program = tool_case.binary("examples/bnn_vgg_cifar10/bnn_vgg_cifar10")
        recipe = os.path.normpath(os.path.join(tool_case.TOOLS, "..", "examples", "recipes", "bnn_vgg_cifar10_bnn.yaml"))
        small = ["--set", "data.name=generated-colour", "--set", "data.train_samples=12", "--set", "data.test_samples=4"]
        for more, message in ((["--held-out", "12"], "0 to 11"), (["--held-out", "-1"], "found -1"),
                              (["--device", "gpu"], "cpu, cuda, cuda:N or auto")):
            done = subprocess.run([program, recipe] + small + more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    tool_case.main()
