// Short vectors by the compiler's own extension (gcc, clang), for loops that do not vectorise
// by themselves. Every pack has the same static functions, and a twin of one lane for the ends.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

namespace halftone::kernels {

template <class Vector, class Element>
inline Vector load_vector(const Element* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

typedef float Float8 __attribute__((vector_size(32)));
typedef int32_t Int8 __attribute__((vector_size(32)));
typedef uint8_t Byte8 __attribute__((vector_size(8)));
typedef uint8_t Byte16 __attribute__((vector_size(16)));

// Int8 to and from bytes. gcc 12 converts such vectors element by element.
inline Int8 widen(const uint8_t* p) {
#ifdef __AVX2__
  return (Int8)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  return __builtin_convertvector(load_vector<Byte8>(p), Int8);
#endif
}

inline void narrow(Int8 v, uint8_t* p) {
#ifdef __AVX2__
  const __m256i all = (__m256i)v;
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
#else
  const Byte8 bytes = __builtin_convertvector(v, Byte8);
  std::memcpy(p, &bytes, sizeof bytes);
#endif
}

// Eight floats; the tap that belongs to each is an int32 in registers, a byte in memory.
struct FloatPack {
  using Element = float;
  using Value = Float8;
  using Tap = Int8;
  static constexpr int kLanes = 8;
  static Value load(const float* p) { return load_vector<Float8>(p); }
  static void store(Value v, float* p) { std::memcpy(p, &v, sizeof v); }
  static Value value(float x) { return x - Float8{}; }
  static Tap tap(int t) { return t - Int8{}; }
  static Tap load_taps(const uint8_t* p) { return widen(p); }
  static void store_taps(Tap t, uint8_t* p) { narrow(t, p); }
};

struct BytePack {
  using Element = uint8_t;
  using Value = Byte16;
  using Tap = Byte16;
  static constexpr int kLanes = 16;
  static Value load(const uint8_t* p) { return load_vector<Byte16>(p); }
  static void store(Value v, uint8_t* p) { std::memcpy(p, &v, sizeof v); }
  static Value value(uint8_t x) { return x - Byte16{}; }
  static Tap tap(int t) { return static_cast<uint8_t>(t) - Byte16{}; }
  static void store_taps(Tap t, uint8_t* p) { store(t, p); }
};

// One element, with the interface of a pack.
template <class T>
struct Single {
  using Element = T;
  using Value = T;
  using Tap = int;
  static constexpr int kLanes = 1;
  static Value load(const T* p) { return *p; }
  static void store(Value v, T* p) { *p = v; }
  static Value value(T x) { return x; }
  static Tap tap(int t) { return t; }
  static Tap load_taps(const uint8_t* p) { return *p; }
  static void store_taps(Tap t, uint8_t* p) { *p = static_cast<uint8_t>(t); }
};

// Covers the channels [0, n) of a pixel with calls of wide(c), which works on lanes [c, c +
// kLanes), or single(c). Blocks may overlap: a body must only write, never add. `room`: elements
// from the pixel's first channel that may be read and written, so that few channels can take one
// wide block that runs into the pixels after it (which are written later).
template <int kLanes, class Wide, class One>
inline void for_channels(int64_t n, int64_t room, Wide wide, One single) {
  if (n >= kLanes) {
    int64_t c = 0;
    for (; c + kLanes <= n; c += kLanes) wide(c);
    if (c < n) wide(n - kLanes);
  } else if (room >= kLanes) {
    wide(0);
  } else {
    for (int64_t c = 0; c < n; ++c) single(c);
  }
}

}  // namespace halftone::kernels
