"""tools/count_tests.py: nothing that went wrong may get lost in the total."""
import json
import os
import tempfile
import unittest

import tool_case

count_tests = tool_case.load("count_tests.py")


class CountTest(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(self.temp.cleanup)
        self.events = []

    def declare(self, label="//a:t"):
        self.events.append({"id": {"targetConfigured": {"label": label}},
                            "configured": {"testSize": "SMALL"}})

    def result(self, status, log, label="//a:t", shard=1, attempt=1):
        path = os.path.join(self.temp.name, "log%d" % len(self.events))
        with open(path, "w") as f:
            f.write(log)
        self.events.append({
            "id": {"testResult": {"label": label, "shard": shard, "run": 1, "attempt": attempt}},
            "testResult": {"status": status,
                           "testActionOutput": [{"name": "test.log", "uri": "file://" + path}]}})

    def total(self, code=0):
        path = os.path.join(self.temp.name, "events")
        with open(path, "w") as f:
            for event in self.events:
                f.write(json.dumps(event) + "\n")
        return count_tests.count(path, code)[:3]

    def test_sum(self):
        self.result("PASSED", "halftone-tests: 2 passed, 0 failed, 1 skipped\n")
        self.result("PASSED", "x\nhalftone-tests: 3 passed, 0 failed, 0 skipped\nend\n", "//b:t")
        self.assertEqual(self.total(), (5, 0, 1))

    def test_last_line_counts(self):
        line = "halftone-tests: %d passed, 0 failed, 0 skipped\n"
        self.result("PASSED", line % 1 + line % 7)
        self.assertEqual(self.total(), (7, 0, 0))

    def test_failed_cases(self):
        self.result("FAILED", "halftone-tests: 2 passed, 3 failed, 0 skipped\n")
        self.assertEqual(self.total(3), (2, 3, 0))

    def test_crash_without_a_line(self):
        self.result("FAILED", "Segmentation fault\n")
        self.assertEqual(self.total(3), (0, 1, 0))

    def test_passing_without_a_line_is_a_failure(self):
        self.result("PASSED", "ok\n")
        self.assertEqual(self.total(), (0, 1, 0))

    def test_leak_after_the_line(self):
        self.result("FAILED", "halftone-tests: 2 passed, 0 failed, 0 skipped\nLeakSanitizer\n")
        self.assertEqual(self.total(3), (2, 1, 0))

    def test_did_not_build(self):
        self.declare()
        self.assertEqual(self.total(1), (0, 1, 0))

    def test_skipped_target_is_not_a_failure(self):
        self.declare()
        self.events.append({"id": {"targetCompleted": {"label": "//a:t"}},
                            "aborted": {"reason": "SKIPPED"}})
        self.result("PASSED", "halftone-tests: 1 passed, 0 failed, 0 skipped\n", "//b:t")
        self.assertEqual(self.total(), (1, 0, 0))

    def test_broken_program_beside_passing_tests(self):
        self.result("PASSED", "halftone-tests: 1 passed, 0 failed, 0 skipped\n")
        self.assertEqual(self.total(1), (1, 1, 0))

    def test_last_attempt_counts(self):
        self.result("FAILED", "crash\n", attempt=1)
        self.result("PASSED", "halftone-tests: 1 passed, 0 failed, 0 skipped\n", attempt=2)
        self.assertEqual(self.total(), (1, 0, 0))

    def test_shards_add_up(self):
        self.result("PASSED", "halftone-tests: 1 passed, 0 failed, 0 skipped\n", shard=1)
        self.result("PASSED", "halftone-tests: 2 passed, 0 failed, 0 skipped\n", shard=2)
        self.assertEqual(self.total(), (3, 0, 0))

    def test_no_tests_is_a_failure(self):
        self.assertEqual(self.total(), (0, 1, 0))


if __name__ == "__main__":
    tool_case.main()
