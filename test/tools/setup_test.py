"""tools/setup and tools/quickstart with stand-ins for apt, dpkg, sudo and bazel."""
import os
import shutil
import subprocess
import tempfile
import unittest

import tool_case


class ToolTest(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(self.temp.cleanup)
        self.bin = self.path("bin")
        self.log = self.path("log")
        os.makedirs(self.path("work/tools"))
        for tool in ["setup", "quickstart.sh"]:
            shutil.copy(os.path.join(tool_case.TOOLS, tool), self.path("work/tools"))
        os.makedirs(self.bin)
        for tool in ["env", "bash", "dirname", "sh", "cat", "grep"]:
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))
        self.fake("id", "echo 0")
        self.fake("apt-get", "exit 0")
        self.fake("apt-cache", "exit 0")
        self.fake("bazel", "exit 0")
        self.fake("python3", "exit 0")
        self.installed("")

    def ran(self, arguments):
        """What the stand-in of the program prints when it is called with these arguments."""
        recipe = self.path("work/examples/recipes/quickstart.yaml")
        return "ran: --recipe %s%s\n" % (recipe, " " + arguments if arguments else "")

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def fake(self, name, body):
        path = name if os.path.isabs(name) else os.path.join(self.bin, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write('#!/bin/sh\necho "%s $*" >>%s\n%s\n' % (os.path.basename(name), self.log, body))
        os.chmod(path, 0o755)

    def installed(self, absent):
        """Every package is installed but those named (all: none is)."""
        self.fake("dpkg-query", 'for p; do :; done\ncase " %s " in *" $p "*|" all ") exit 1;; esac\n'
                                "printf installed" % absent)

    def run_tool(self, tool, *args, **env):
        with open(self.log, "w"):
            pass
        out = subprocess.run([self.path("work/tools/" + tool)] + list(args),
                             env=dict({"PATH": self.bin, "HOME": self.path("home")}, **env),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             universal_newlines=True, cwd=self.temp.name)
        self.output = out.stdout
        with open(self.log) as f:
            self.calls = f.read()
        return out.returncode


class SetupTest(ToolTest):
    def test_nothing_missing_touches_nothing(self):
        self.assertEqual(self.run_tool("setup"), 0, self.output)
        self.assertNotIn("apt-get", self.calls)
        self.assertEqual(self.output, "")

    def test_missing_packages_are_explained_and_installed(self):
        self.installed("libeigen3-dev catch2")
        self.assertEqual(self.run_tool("setup"), 0, self.output)
        self.assertIn("apt-get -qq install -y --no-install-recommends libeigen3-dev catch2",
                      self.calls)
        self.assertIn("Eigen: matrix products", self.output)

    def test_no_install_prints_the_command_and_fails(self):
        self.installed("libeigen3-dev")
        self.assertEqual(self.run_tool("setup", "--no-install"), 1)
        self.assertIn("apt-get install --no-install-recommends libeigen3-dev", self.output)
        self.assertNotIn("apt-get", self.calls)

    def test_no_install_with_nothing_missing(self):
        self.assertEqual(self.run_tool("setup", "--no-install"), 0)

    def test_optional_package_alone_is_installed(self):
        self.installed("libdnnl-dev")
        self.assertEqual(self.run_tool("setup"), 0)
        self.assertIn("apt-get -qq install -y --no-install-recommends libdnnl-dev", self.calls)

    def test_optional_package_that_cannot_be_had_is_no_reason_to_stop(self):
        self.installed("libdnnl-dev")
        self.assertEqual(self.run_tool("setup", "--no-install"), 0)
        self.assertIn("goes on without libdnnl-dev; for full speed: apt-get install", self.output)
        self.fake("apt-get", "exit 1")
        self.assertEqual(self.run_tool("setup"), 0)
        self.assertIn("goes on without libdnnl-dev (apt-get could not install it)", self.output)
        self.fake("apt-cache", "exit 1")
        self.assertEqual(self.run_tool("setup"), 0)
        self.assertNotIn("apt-get", self.calls)
        self.assertIn("goes on without libdnnl-dev (apt-cache does not know it)", self.output)
        self.assertEqual(len(self.output.splitlines()), 1, self.output)

    def test_sudo_is_used_by_others(self):
        self.fake("id", "echo 1000")
        self.fake("sudo", 'exec "$@"')
        self.installed("catch2")
        self.assertEqual(self.run_tool("setup"), 0, self.output)
        self.assertIn("sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install", self.calls)

    def test_neither_root_nor_sudo(self):
        self.fake("id", "echo 1000")
        self.installed("catch2")
        self.assertEqual(self.run_tool("setup"), 1)
        self.assertIn("How to fix: run as root", self.output)

    def test_apt_fails(self):
        self.installed("catch2")
        self.fake("apt-get", "exit 100")
        self.assertEqual(self.run_tool("setup"), 1)
        self.assertIn("could not install: catch2", self.output)

    def test_not_debian(self):
        os.unlink(os.path.join(self.bin, "apt-get"))
        self.assertEqual(self.run_tool("setup"), 1)
        self.assertIn("not Debian or Ubuntu", self.output)
        self.assertEqual(self.run_tool("setup", HALFTONE_SKIP_SETUP="1"), 0)

    def test_unknown_option(self):
        self.assertEqual(self.run_tool("setup", "--instal"), 2)
        self.assertIn("--help", self.output)


class QuickstartTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.fake(self.path("work/bazel-bin/tools/quickstart"), 'echo "ran: $*"')
        self.fake(self.path("work/tools/get_data"), "exit 1")

    def mnist(self, folder):
        os.makedirs(self.path(folder))
        for f in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]:
            with open(os.path.join(self.path(folder), f + "-ubyte.gz"), "w"):
                pass
        return self.path(folder)

    def test_named_folder_and_options_are_passed_on(self):
        self.assertEqual(self.run_tool("quickstart.sh", "--data", "/d", "--set", "epochs=2", "--quiet"), 0)
        self.assertIn(self.ran("--data /d --set epochs=2 --quiet"), self.output)
        self.assertNotIn("get_data", self.calls)

    def test_a_device_is_passed_on_and_wants_a_build_with_cuda(self):
        self.assertEqual(self.run_tool("quickstart.sh", "--data", "/d", "--device", "cuda"), 0)
        self.assertIn(self.ran("--data /d --device cuda"), self.output)
        self.assertIn("--config=cuda", self.calls)
        self.assertEqual(self.run_tool("quickstart.sh", "--data", "/d", "--device=cpu"), 0)
        self.assertIn(self.ran("--data /d --device cpu"), self.output)

    def test_halftone_data_comes_first(self):
        folder = self.mnist("sets/mnist")
        self.mnist("home/.cache/halftone/mnist")
        self.run_tool("quickstart.sh", HALFTONE_DATA=self.path("sets"))
        self.assertIn(self.ran("--data " + folder), self.output)

    def test_cache_comes_second(self):
        folder = self.mnist("home/.cache/halftone/mnist")
        self.run_tool("quickstart.sh", HALFTONE_DATA=self.path("nowhere"))
        self.assertIn(self.ran("--data " + folder), self.output)
        self.assertNotIn("get_data", self.calls)

    def test_download_comes_third(self):
        self.fake(self.path("work/tools/get_data"), "exit 0")
        self.run_tool("quickstart.sh", XDG_CACHE_HOME=self.path("xdg"))
        self.assertIn(self.ran("--data " + self.path("xdg/halftone/mnist")), self.output)

    def test_generated_digits_come_last(self):
        self.assertEqual(self.run_tool("quickstart.sh"), 0)
        self.assertIn(self.ran(""), self.output)  # the program itself says what it trains on

    def test_no_install_reaches_setup(self):
        self.installed("catch2")
        self.assertEqual(self.run_tool("quickstart.sh", "--no-install"), 1)
        self.assertNotIn("bazel", self.calls)

    def test_another_recipe(self):
        self.run_tool("quickstart.sh", "--recipe", "mine.yaml")
        self.assertIn("ran: --recipe mine.yaml\n", self.output)

    def test_an_unknown_option_stops_before_anything_is_installed_or_built(self):
        self.installed("all")
        self.assertEqual(self.run_tool("quickstart.sh", "--epochs", "2"), 2)
        self.assertIn("unknown option --epochs", self.output)
        self.assertEqual(self.calls, "")

    def test_help(self):
        self.assertEqual(self.run_tool("quickstart.sh", "--help"), 0)
        self.assertIn("usage: tools/quickstart", self.output)


if __name__ == "__main__":
    tool_case.main()
