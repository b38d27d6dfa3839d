"""The bundle for a machine with a GPU and no Bazel: unpacked and run."""
import os
import subprocess
import tarfile

import tool_case


class GpuBundleTest(tool_case.CommandCase):
    def setUp(self):
        super().setUp()
        with tarfile.open(tool_case.binary("tools/gpu_bundle.tar.gz")) as bundle:
            bundle.extractall(self.temp.name)

    def run_program(self, *args):
        return subprocess.run([self.path("gpu_bundle/run"), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_programs_know_cuda(self):
        recipe = "data/examples/recipes/resnet20_cifar10_float.yaml"
        for program in (["halftone", "train", recipe, "--out", self.path("run")],
                        ["bnn_vgg_cifar10", "data/examples/recipes/bnn_vgg_cifar10_bnn.yaml"]):
            done = self.run_program(*program, "--set", "data.dir=/no/such/folder", "--device", "cuda")
            self.assertEqual(done.returncode, 1)
            if os.path.exists("/dev/nvidia0"):
                self.assertIn("/no/such/folder", done.stderr)
            else:
                self.assertRegex(done.stderr, "expected a CUDA device, found no (NVIDIA driver|CUDA device)")

    def test_benchmarks_want_a_gpu(self):
        if os.path.exists("/dev/nvidia0"):
            self.skipTest("there is a GPU: they would run long")
        for program in (["bench_kernels_cuda"], ["bench_train", "lenet5", "--device", "cuda"]):
            done = self.run_program(*program)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"\Abench_[^\n]*no (NVIDIA driver|CUDA device)[^\n]*\n\Z")
        done = self.run_program("bench_train", "lenet5", "--steps", "2", "--threads", "1", "--rounds", "1", "--forms", "eager", "--python", "/bin/false")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_run_names_the_programs(self):
        for args in ((), ("halftoon",)):
            done = self.run_program(*args)
            self.assertEqual(done.returncode, 2)
            self.assertIn("one of: bench_kernels_cuda bench_train bnn_vgg_cifar10 gpu_tests halftone", done.stderr)

    def test_its_tests_skip_or_pass(self):
        done = self.run_program("gpu_tests", "[quick]")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("halftone-tests: ", done.stdout + done.stderr)


if __name__ == "__main__":
    tool_case.main()
