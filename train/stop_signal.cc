#include "train/stop_signal.h"

namespace halftone {
namespace {

volatile std::sig_atomic_t g_received = 0;  // a signal handler can reach nothing else

void on_signal(int number) { g_received = number; }

}  // namespace

StopSignal::StopSignal() {
  g_received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

int StopSignal::received() { return g_received; }

}  // namespace halftone
