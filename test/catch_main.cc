// The main() of every Catch2 test here. It adds three things to Catch2's own:
//  - HALFTONE_SKIP (see catch_skip.h),
//  - a last line `halftone-tests: N passed, N failed, N skipped` for tools/test,
//  - bazel's --test_filter as the test specification.
#define CATCH_CONFIG_RUNNER
#include "test/catch_skip.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>

namespace {

struct Counts {
  int passed = 0, failed = 0, skipped = 0;
  bool skip_this = false;
  std::string name;
};

Counts& State() {
  static Counts counts;
  return counts;
}

class CountingListener : public Catch::TestEventListenerBase {
 public:
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    State().skip_this = false;
    State().name = info.name;
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    if (stats.totals.testCases.failed > 0) {
      ++State().failed;
    } else if (State().skip_this) {
      ++State().skipped;
    } else {
      ++State().passed;
    }
  }

  // Called after a fatal signal too, so a crash is counted as well as seen.
  void testRunEnded(const Catch::TestRunStats&) override {
    std::fflush(stdout);
    std::fprintf(stderr, "halftone-tests: %d passed, %d failed, %d skipped\n", State().passed,
                 State().failed, State().skipped);
    std::fflush(stderr);
  }
};
CATCH_REGISTER_LISTENER(CountingListener)

}  // namespace

void halftone::test::MarkSkipped(const std::string& reason, const char* file, int line) {
  State().skip_this = true;
  std::printf("skipped: %s: %s (%s:%d)\n", State().name.c_str(), reason.c_str(), file, line);
  SUCCEED("skipped: " << reason);
}

int main(int argc, char** argv) {
  Catch::Session session;
  const int bad = session.applyCommandLine(argc, argv);
  if (bad != 0) return bad;
  const char* filter = std::getenv("TESTBRIDGE_TEST_ONLY");
  if (filter != nullptr && *filter != '\0' && argc == 1) {
    session.configData().testsOrTags.push_back(filter);
  }
  return session.run();
}
