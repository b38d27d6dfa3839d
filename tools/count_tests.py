"""Adds up the test cases of a `bazel test` run.

usage: count_tests.py EVENTS BAZEL_EXIT_CODE

EVENTS is what --build_event_json_file wrote. Every test prints a line
`halftone-tests: N passed, N failed, N skipped`; the last one in a test's log counts.
A test that failed without admitting it (crash, leak, time-out), printed no such line or
never ran counts as one failure more. Prints skips, failures and, last, the total.
"""
import json
import re
import sys
import urllib.parse

LINE = re.compile(r"^halftone-tests: (\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
SKIP = re.compile(r"^skipped: .*$", re.M)


def read_events(path):
    """(labels of tests, label -> {(shard, run): (attempt, status, log path)}, skipped labels)."""
    tests, results, unavailable = set(), {}, set()
    with open(path, encoding="utf-8", errors="replace") as f:
        for row in f:
            try:
                event = json.loads(row)
            except ValueError:
                continue  # Bazel was killed in the middle of a line
            ident = event.get("id", {})
            if "testSize" in event.get("configured", {}):
                tests.add(ident["targetConfigured"]["label"])
            if event.get("aborted", {}).get("reason") == "SKIPPED":
                unavailable.add(ident.get("targetCompleted", {}).get("label"))
            if "testResult" in event:
                key = ident["testResult"]
                logs = [o["uri"] for o in event["testResult"].get("testActionOutput", [])
                        if o.get("name") == "test.log" and "uri" in o]
                one = (key.get("attempt", 1), event["testResult"].get("status"),
                       urllib.parse.unquote(logs[0][len("file://"):]) if logs else None)
                runs = results.setdefault(key["label"], {})
                where = (key.get("shard", 1), key.get("run", 1))
                if where not in runs or runs[where][0] <= one[0]:
                    runs[where] = one
    return tests, results, unavailable


def read_log(path):
    """((passed, failed, skipped) or None, skip lines) of one test's log."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
    except (OSError, TypeError):
        return None, []
    found = LINE.findall(text)
    return (tuple(int(n) for n in found[-1]) if found else None), SKIP.findall(text)


def count(events, bazel_code):
    """(passed, failed, skipped, lines to print)."""
    tests, results, unavailable = read_events(events)
    total, lines = [0, 0, 0], []

    def failure(text):
        total[1] += 1
        lines.append("FAILED: " + text)

    for label in sorted(tests | set(results)):
        if label not in results:
            if label not in unavailable:
                failure("%s: did not build or did not run" % label)
            continue
        for _, status, log in results[label].values():
            counts, skips = read_log(log)
            lines += ["%s: %s" % (label, s) for s in skips]
            if counts is None:
                failure("%s: %s without a `halftone-tests:` line (crashed?), see %s"
                        % (label, status, log))
                continue
            total[:] = [a + b for a, b in zip(total, counts)]
            if counts[1]:
                lines.append("FAILED: %s: %d cases, see %s" % (label, counts[1], log))
            elif status != "PASSED":
                failure("%s: %s although no case failed, see %s" % (label, status, log))
    if bazel_code != 0 and total[1] == 0:
        failure("bazel test ended with exit code %d, see above" % bazel_code)
    if sum(total) == 0:
        failure("there was no test to run")
    return total[0], total[1], total[2], lines


def main(argv):
    passed, failed, skipped, lines = count(argv[0], int(argv[1]))
    if lines:
        print("\n".join([""] + lines))
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
