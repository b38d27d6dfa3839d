#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace halftone {
namespace {

struct Remains {
  std::vector<GradEdge> inputs;
  BackwardFn backward;
};

// Non-null while a node's remains are being dropped on this thread.
thread_local std::vector<Remains>* t_pending = nullptr;

// What the remains own may be the last handle of further nodes: those only queue theirs.
void drop(Remains first) {
  std::vector<Remains> pending;
  pending.push_back(std::move(first));
  t_pending = &pending;
  while (!pending.empty()) {
    const Remains remains = std::move(pending.back());
    pending.pop_back();
  }
  t_pending = nullptr;
}

}  // namespace

Node::~Node() {
  if (inputs.empty() && !backward) return;
  Remains remains{std::move(inputs), std::move(backward)};
  if (t_pending != nullptr) {
    t_pending->push_back(std::move(remains));
  } else {
    drop(std::move(remains));
  }
}

}  // namespace halftone
