// What a Variable points at: autograd's own files only.
#pragma once

#include "autograd/variable.h"

namespace halftone {

struct Variable::Impl {
  mutable Tensor value;  // filled from the codes on first use
  std::optional<Codes> codes;
  Tensor grad;
  bool requires_grad = false;
  bool has_grad = false;    // something was accumulated since zero_grad()
  bool has_buffer = false;  // grad is the store's: written in place, never replaced
  std::shared_ptr<Node> node;
};

}  // namespace halftone
