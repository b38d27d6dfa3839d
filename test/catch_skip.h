// HALFTONE_SKIP(reason): ends the test case and counts it as skipped.
// Catch2 2.13 has no SKIP of its own.
#ifndef TEST_CATCH_SKIP_H_
#define TEST_CATCH_SKIP_H_

#include <string>

namespace halftone {
namespace test {

// Marks the running test case as skipped and prints why.
void MarkSkipped(const std::string& reason, const char* file, int line);

}  // namespace test
}  // namespace halftone

// For use in the body of a TEST_CASE (it returns from the function it stands in).
#define HALFTONE_SKIP(reason)                                    \
  do {                                                           \
    ::halftone::test::MarkSkipped((reason), __FILE__, __LINE__); \
    return;                                                      \
  } while (false)

#endif  // TEST_CATCH_SKIP_H_
