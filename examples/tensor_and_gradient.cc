// 1. A tensor and its gradient: y = sum(relu(x * w)), and what w has to do with it.
#include <cstdio>

#include "halftone.h"

int main() {
  using namespace halftone;
  const Context context;  // device, memory, threads, random state: a value, never a global

  const Variable x(Tensor::from<float>(context, {1, 3}, {1.0f, -2.0f, 3.0f}));
  Variable w(Tensor::from<float>(context, {1, 3}, {0.5f, 0.25f, 2.0f}), /*requires_grad=*/true);

  Variable y = sum(relu(mul(x, w)));
  std::printf("y = %g\n", y.value().item<float>());  // 0.5 + 0 + 6

  y.backward();
  for (float g : w.grad().to_vector<float>())
    std::printf("dy/dw = %g\n", g);  // x where x * w > 0, else 0

  // Shape errors say what was expected and what came.
  try {
    add(x, Variable(Tensor::zeros(context, {2, 2})));
  } catch (const Error& e) {
    std::printf("an error reads: %s\n", e.what());
  }
}
