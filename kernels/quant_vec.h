// Sixteen floats with the interface that the rules of quant_math.h expect, for files that are
// compiled once per instruction set: one register of AVX-512 or two of AVX2. A file that includes
// this defines HALFTONE_QUANT_AVX512 or not, and stands below the matching #pragma GCC target.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifdef HALFTONE_QUANT_AVX512
#define HALFTONE_QUANT_NAMESPACE quant_avx512
#else
#define HALFTONE_QUANT_NAMESPACE quant_avx2
#endif

namespace halftone::kernels::HALFTONE_QUANT_NAMESPACE {

constexpr int kRound = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

#ifdef HALFTONE_QUANT_AVX512

struct Mask {
  __mmask16 m;
  Mask operator|(Mask o) const { return {static_cast<__mmask16>(m | o.m)}; }
  Mask operator!() const { return {static_cast<__mmask16>(~m)}; }
};

struct Vec {
  static constexpr int64_t kLanes = 16;
  __m512 v;
  Vec() = default;
  explicit Vec(float x) : v(_mm512_set1_ps(x)) {}
  explicit Vec(__m512 v) : v(v) {}
  static Vec load(const float* p) { return Vec(_mm512_loadu_ps(p)); }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void stream(float* p) const { _mm512_stream_ps(p, v); }  // 64-byte aligned
};

inline Vec operator+(Vec a, Vec b) { return Vec(_mm512_add_ps(a.v, b.v)); }
inline Vec operator-(Vec a, Vec b) { return Vec(_mm512_sub_ps(a.v, b.v)); }
inline Vec operator*(Vec a, Vec b) { return Vec(_mm512_mul_ps(a.v, b.v)); }
inline Vec operator/(Vec a, Vec b) { return Vec(_mm512_div_ps(a.v, b.v)); }
inline Mask operator<(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator>(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask operator<=(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator>=(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return Vec(_mm512_mask_blend_ps(m.m, no.v, yes.v)); }
inline Vec round_even(Vec a) { return Vec(_mm512_maskz_roundscale_ps(0xffff, a.v, kRound)); }

// gcc 12 warns of the undefined operand that the forms without a mask begin with.
constexpr __mmask8 kAll = 0xff;

// Sixteen doubles.
struct Sums {
  __m512d s[2];
  static Sums load(const double* p) { return {{_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}}; }
  void store(double* p) const {
    _mm512_storeu_pd(p, s[0]);
    _mm512_storeu_pd(p + 8, s[1]);
  }
  void add(Vec x) {
    const __m256 low = __builtin_shufflevector(x.v, x.v, 0, 1, 2, 3, 4, 5, 6, 7);
    const __m256 high = __builtin_shufflevector(x.v, x.v, 8, 9, 10, 11, 12, 13, 14, 15);
    s[0] = _mm512_add_pd(s[0], _mm512_maskz_cvtps_pd(kAll, low));
    s[1] = _mm512_add_pd(s[1], _mm512_maskz_cvtps_pd(kAll, high));
  }
  void add_square(Vec x) {  // exact: a square of a float fits a double
    Sums d = {};
    d.add(x);
    for (int i = 0; i < 2; ++i) s[i] = _mm512_add_pd(s[i], _mm512_mul_pd(d.s[i], d.s[i]));
  }
};

#else

struct Mask {
  __m256 a, b;
  Mask operator|(Mask o) const { return {_mm256_or_ps(a, o.a), _mm256_or_ps(b, o.b)}; }
  Mask operator!() const {
    const __m256 ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    return {_mm256_xor_ps(a, ones), _mm256_xor_ps(b, ones)};
  }
};

struct Vec {
  static constexpr int64_t kLanes = 16;
  __m256 a, b;
  Vec() = default;
  explicit Vec(float x) : a(_mm256_set1_ps(x)), b(a) {}
  Vec(__m256 a, __m256 b) : a(a), b(b) {}
  static Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  void store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  void stream(float* p) const {  // 32-byte aligned
    _mm256_stream_ps(p, a);
    _mm256_stream_ps(p + 8, b);
  }
};

inline Vec operator+(Vec x, Vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Vec operator-(Vec x, Vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Vec operator*(Vec x, Vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Vec operator/(Vec x, Vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
template <int kRelation>
inline Mask compare(Vec x, Vec y) {
  return {_mm256_cmp_ps(x.a, y.a, kRelation), _mm256_cmp_ps(x.b, y.b, kRelation)};
}
inline Mask operator<(Vec x, Vec y) { return compare<_CMP_LT_OQ>(x, y); }
inline Mask operator>(Vec x, Vec y) { return compare<_CMP_GT_OQ>(x, y); }
inline Mask operator<=(Vec x, Vec y) { return compare<_CMP_LE_OQ>(x, y); }
inline Mask operator>=(Vec x, Vec y) { return compare<_CMP_GE_OQ>(x, y); }
inline Vec select(Mask m, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
inline Vec round_even(Vec x) {
  return {_mm256_round_ps(x.a, kRound), _mm256_round_ps(x.b, kRound)};
}

// Sixteen doubles.
struct Sums {
  __m256d s[4];
  static Sums load(const double* p) {
    return {{_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4), _mm256_loadu_pd(p + 8),
             _mm256_loadu_pd(p + 12)}};
  }
  void store(double* p) const {
    for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, s[i]);
  }
  void add(Vec x) {
    s[0] = _mm256_add_pd(s[0], _mm256_cvtps_pd(_mm256_castps256_ps128(x.a)));
    s[1] = _mm256_add_pd(s[1], _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)));
    s[2] = _mm256_add_pd(s[2], _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)));
    s[3] = _mm256_add_pd(s[3], _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1)));
  }
  void add_square(Vec x) {  // exact: a square of a float fits a double
    Sums d = {};
    d.add(x);
    for (int i = 0; i < 4; ++i) s[i] = _mm256_add_pd(s[i], _mm256_mul_pd(d.s[i], d.s[i]));
  }
};

#endif

}  // namespace halftone::kernels::HALFTONE_QUANT_NAMESPACE
