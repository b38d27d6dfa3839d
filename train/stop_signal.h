// SIGINT and SIGTERM ask a run to stop at the next step boundary.
#pragma once

#include <csignal>

namespace halftone {

// While alive, both signals only set a flag; a second one ends the process as usual.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  // The signal that came, 0 for none.
  static int received();

 private:
  struct sigaction interrupt_ {
  }, terminate_{};
};

}  // namespace halftone
