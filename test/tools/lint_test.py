"""tools/lint: what it lets through and what it does not."""
import contextlib
import io
import os
import tempfile
import unittest

import tool_case

lint = tool_case.load("lint")


class LayeringTest(unittest.TestCase):
    def allowed(self, name, target):
        return lint.include_problem(name, target) is None

    def test_left_is_allowed(self):
        for name, target in [("kernels/a.h", "tensor/t.h"), ("nn/a.cc", "autograd/g.h"),
                             ("quant/a.cc", "nn/m.h"), ("train/a.cc", "quant/q.h"),
                             ("deploy/a.cc", "quant/q.h"), ("tools/a.cc", "train/t.h"),
                             ("data/a.cc", "kernels/k.h"), ("train/a.cc", "data/d.h"),
                             ("nn/a.cc", "nn/b.h"), ("examples/a.cc", "halftone.h")]:
            self.assertTrue(self.allowed(name, target), (name, target))

    def test_right_is_not(self):
        for name, target in [("tensor/a.h", "kernels/k.h"), ("autograd/a.cc", "nn/m.h"),
                             ("nn/a.cc", "quant/q.h"), ("quant/a.cc", "train/t.h"),
                             ("deploy/a.cc", "train/t.h"), ("train/a.cc", "deploy/d.h"),
                             ("train/a.cc", "tools/t.h"), ("nn/a.cc", "halftone.h")]:
            self.assertFalse(self.allowed(name, target), (name, target))

    def test_data_uses_tensor_and_kernels_only(self):
        self.assertFalse(self.allowed("data/a.cc", "autograd/g.h"))
        self.assertFalse(self.allowed("nn/a.cc", "data/d.h"))

    def test_some_folders_stand_alone(self):
        self.assertFalse(self.allowed("kernels/integer/a.h", "tensor/t.h"))
        self.assertFalse(self.allowed("kernels/integer/a.h", "kernels/k.h"))
        self.assertTrue(self.allowed("kernels/integer/a.cc", "kernels/integer/a.h"))
        self.assertTrue(self.allowed("deploy/runtime/a_test.cc", "test/catch_skip.h"))
        self.assertFalse(self.allowed("deploy/runtime/a.cc", "deploy/d.h"))
        self.assertFalse(self.allowed("deploy/runtime/a.cc", "tensor/t.h"))
        self.assertTrue(self.allowed("deploy/runtime/a.cc", "kernels/integer/q.h"))

    def test_test_folder_is_for_tests(self):
        self.assertTrue(self.allowed("nn/a_test.cc", "test/catch_skip.h"))
        self.assertFalse(self.allowed("nn/a.cc", "test/catch_skip.h"))


class FilesTest(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(self.temp.cleanup)

    def put(self, name, text):
        path = os.path.join(self.temp.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def run_lint(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = lint.main(["--root", self.temp.name])
        return code, out.getvalue()

    def test_clean(self):
        self.put("nn/a.h", "#include <vector>\nint Quantile(int quantity);\n")
        self.assertEqual(self.run_lint()[0], 0, self.run_lint()[1])

    def test_quant_in_nn(self):
        self.put("nn/a.h", "// The\n// FakeQuant observer.\n")
        code, text = self.run_lint()
        self.assertEqual(code, 1)
        self.assertIn("nn/a.h:2:", text)

    def test_wrong_include_is_named_with_its_line(self):
        self.put("tensor/a.cc", '#include <vector>\n#include "nn/module.h"\n')
        code, text = self.run_lint()
        self.assertEqual(code, 1)
        self.assertIn('tensor/a.cc:2: #include "nn/module.h"', text)

    def test_long_file(self):
        self.put("tools/a.py", "x = 1\n" * 601)
        code, text = self.run_lint()
        self.assertEqual(code, 1)
        self.assertIn("tools/a.py: 601 lines, at most 600", text)

    def test_functions_are_found(self):
        text = """
namespace a {
class B {  // { not this
  int f(int x) const { return x; }
};
template <class T>
T g(T t) {
  if (t) {
    return "}";
  }
  return t;
}
}
"""
        self.assertEqual([(n, k) for _, n, k in lint.cxx_functions(text)], [("f", 1), ("g", 6)])

    def test_quantile(self):
        self.assertEqual(lint.quantile(list(range(10)), 0.9), 9)
        self.assertEqual(lint.quantile([3], 0.5), 3)


if __name__ == "__main__":
    tool_case.main()
