// From registers of sums to codes, reals or sums, with AVX-512. Include after products_loops.h and
// inside the body's own namespace.

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

inline __m512i four_codes(const uint8_t* x) {
  int32_t quad;
  memcpy(&quad, x, sizeof(quad));
  return _mm512_set1_epi32(quad);
}

inline __mmask64 first_bits(int32_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

// What codes are made with. `bounded`: no product reaches 2^31, where vcvtps2dq would wrap.
template <int V>
struct Rounding {
  Rounding(const float* m, const CodeRange& r, bool bounded, int32_t channels)
      : zero(_mm512_set1_epi16(static_cast<int16_t>(r.zero))),
        low(_mm512_set1_epi8(static_cast<char>(r.low))),
        high(_mm512_set1_epi8(static_cast<char>(r.high))),
        lanes(first_bits(channels)),
        bounded(bounded),
        shifts(r.zero != 0),
        clamps(r.low > 0 || r.high < 255) {
    for (int v = 0; v < V; ++v) multiplier[v] = _mm512_loadu_ps(m + v * kLanes);
  }
  __m512 multiplier[V];
  __m512i zero, low, high;
  __mmask64 lanes;
  bool bounded, shifts, clamps;
};

// Steps of the output. Beyond 2^20 all are clamped.
template <int V>
inline void to_steps(const __m512i* acc, const Rounding<V>& r, __m512i* steps) {
  __m512 t[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) t[v] = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[v]), r.multiplier[v]);
  if (!r.bounded) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) t[v] = _mm512_min_ps(t[v], _mm512_set1_ps(0x1p20f));
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) steps[v] = _mm512_cvtps_epi32(t[v]);
}

inline __m512i three_of_four() {
  return _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
}

// Codes of 16 V channels, saturating all the way.
template <int V>
inline void store_codes(const __m512i* acc, const Rounding<V>& r, uint8_t* to) {
  const __m512i none = _mm512_setzero_si512();
  __m512i s[V];
  to_steps<V>(acc, r, s);
  __m512i ab = _mm512_packs_epi32(s[0], V > 1 ? s[1 % V] : none);
  if (r.shifts) ab = _mm512_adds_epi16(ab, r.zero);
  __m512i bytes;
  if constexpr (V > 2) {
    __m512i cd = _mm512_packs_epi32(s[2 % V], V > 3 ? s[3 % V] : none);
    if (r.shifts) cd = _mm512_adds_epi16(cd, r.zero);
    bytes = _mm512_packus_epi16(ab, cd);
    // With three vectors every fourth word is none.
    if constexpr (V == 3) bytes = _mm512_permutexvar_epi32(three_of_four(), bytes);
  } else {
    bytes = _mm512_castsi256_si512(_mm512_cvtusepi16_epi8(_mm512_max_epi16(ab, none)));
    // With one vector every other four bytes are none.
    if constexpr (V == 1)
      bytes = _mm512_castsi128_si512(_mm256_cvtepi64_epi32(_mm512_castsi512_si256(bytes)));
  }
  if (r.clamps) bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, r.low), r.high);
  _mm512_mask_storeu_epi8(to, r.lanes, bytes);
}

template <int V>
struct ToCodes {
  explicit ToCodes(const Slab& s) : rounding(s.multiplier, s.code_range, s.bounded, s.channels) {}
  void operator()(const Slab& s, const __m512i* acc, int64_t p) const {
    store_codes<V>(acc, rounding, s.codes + s.to[p]);
  }
  Rounding<V> rounding;
};

template <int V>
struct ToReals {
  explicit ToReals(const Slab&) {}
  void operator()(const Slab& s, const __m512i* acc, int64_t p) const {
    int32_t sums[V * kLanes];
    for (int v = 0; v < V; ++v) _mm512_storeu_si512(sums + v * kLanes, acc[v]);
    to_reals(sums, s.multiplier, s.channels, s.real_range, s.reals + s.to[p]);
  }
};

template <int V>
struct ToSums {
  explicit ToSums(const Slab&) {}
  void operator()(const Slab& s, const __m512i* acc, int64_t p) const {
    const __mmask64 lanes = first_bits(s.channels);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      _mm512_mask_storeu_epi32(s.sums + p * s.channels + v * kLanes,
                               static_cast<__mmask16>(lanes >> (v * kLanes)), acc[v]);
    }
  }
};
