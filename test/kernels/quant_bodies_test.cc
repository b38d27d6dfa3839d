// AVX-512 and AVX2, written through the cache or past it: the same bits.
#include "kernels/quant_bodies.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/integer/dorefa_math.h"
#include "test/kernels/oracle.h"

using namespace halftone;
using kernels::QuantBlock;
using kernels::QuantBodies;

namespace {

constexpr int64_t kCount = 5003;

// Values with ties, edges, NaN and infinities; constants for 1024 columns.
struct Operands {
  Operands()
      : x(test::random_tensor(context, {kCount}, 1)),
        dy(test::random_tensor(context, {kCount}, 2)) {
    for (int64_t i = 0; i < kCount; i += 7) {
      x.data<float>()[i] = 0.11f * static_cast<float>(i % 40 - 20);
    }
    const float odd[] = {test::kNan, test::kInf, -test::kInf, 0.0f, -0.0f, 1.0f, -1.0f, 1e-44f};
    std::copy(std::begin(odd), std::end(odd), x.data<float>() + 77);
  }
  Context context;
  Tensor x, dy;
  std::vector<float> scale = std::vector<float>(1024, 0.11f),
                     low = std::vector<float>(1024, -11.0f), high = std::vector<float>(1024, 4.0f),
                     z = std::vector<float>(1024, 3.0f);
};

struct Walk {
  int64_t begin, period;
};
// From an odd element; in tiles, aligned and not.
constexpr Walk kWalks[] = {{13, 0}, {1024, 1024}, {999, 999}};

using Bits = std::vector<uint32_t>;

template <class T>
void append(const T* values, size_t count, Bits& bits) {
  const size_t at = bits.size();
  bits.resize(at + count * sizeof(T) / 4);
  std::memcpy(&bits[at], values, count * sizeof(T));
}

Bits run(const Operands& o, QuantBodies::Body body, const Walk& walk, bool stream) {
  Tensor out = Tensor::full(o.context, {kCount}, 9.0f);
  std::vector<double> sums(2048);
  const QuantBlock b{
      walk.begin,        kCount,       walk.period,    o.x.data<float>(), o.dy.data<float>(),
      out.data<float>(), stream,       o.scale.data(), o.low.data(),      o.high.data(),
      o.z.data(),        o.low.data(), o.high.data(),  sums.data(),       sums.data() + 1024};
  body(b);
  Bits bits;
  append(out.data<float>(), kCount, bits);
  append(sums.data(), sums.size(), bits);
  return bits;
}

Bits reduce(const Operands& o, void (*body)(const kernels::ReduceBlock&), const Walk& walk) {
  std::vector<float> floats(3 * 1024);
  std::vector<double> sums(3 * 1024);
  body({walk.begin, kCount, walk.period, o.x.data<float>(), true, &floats[0], &floats[1024],
        &floats[2048], &sums[0], &sums[1024], &sums[2048]});
  Bits bits;
  for (float& f : floats) f = f == f ? f : test::kNan;  // of any sign
  append(floats.data(), floats.size(), bits);
  for (double& s : sums) s = s == s ? s : 0.5;
  append(sums.data(), sums.size(), bits);
  return bits;
}

std::vector<QuantBodies::Body> all(const QuantBodies& b) {
  return {b.fake_quantize,
          b.fake_quantize_nni,
          b.ste_gradient,
          b.ste_gradient_nni,
          b.lsq[0],
          b.lsq[1],
          b.lsq_plus[0],
          b.lsq_plus[1],
          b.sign,
          b.sign_gradient[0],
          b.sign_gradient[1],
          b.dorefa_activation,
          b.dorefa_activation_gradient};
}

}  // namespace

TEST_CASE("every body of every instruction set") {
  const Operands o;
  const QuantBodies& plain = kernels::quant_bodies_avx2();
  const auto want = all(plain);
  for (const QuantBodies* other : {&plain, kernels::quant_bodies_avx512()}) {
    if (other == nullptr) continue;
    const auto got = all(*other);
    for (size_t i = 0; i < want.size(); ++i) {
      for (const Walk& walk : kWalks) {
        CAPTURE(i, walk.begin);
        const Bits expected = run(o, want[i], walk, false);
        REQUIRE(run(o, got[i], walk, false) == expected);
        REQUIRE(run(o, got[i], walk, true) == expected);
      }
    }
    for (const Walk& walk : kWalks) {
      REQUIRE(reduce(o, other->range, walk) == reduce(o, plain.range, walk));
      REQUIRE(reduce(o, other->moments, walk) == reduce(o, plain.moments, walk));
    }
    std::vector<float> t(kCount);
    other->tanh(o.x.data<float>(), kCount, t.data());
    for (int64_t i = 0; i < kCount; ++i) {
      const float expected = quant_math::dorefa_tanh(o.x.data<float>()[i]);
      if (expected == expected && t[i] != expected) FAIL(i);
    }
  }
}
