// Elements side by side that travel in one 16-byte access, and bfloat16 as the device sees it.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kernels/integer/host_device.h"

namespace halftone::kernels::cuda {

// The bits of tensor's BFloat16.
struct Bf16 {
  uint16_t bits;
};

HALFTONE_HD float to_float(float v) { return v; }

HALFTONE_HD float to_float(Bf16 v) {
  const uint32_t word = static_cast<uint32_t>(v.bits) << 16;
  float out;
  memcpy(&out, &word, sizeof out);
  return out;
}

// Nearest, ties to even; NaN keeps its sign and leading payload on the host (tensor/dtype.cc).
HALFTONE_HD void from_float(float v, Bf16& out) {
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(v));
#else
  uint32_t word;
  memcpy(&word, &v, sizeof word);
  const uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const uint32_t nan = (word >> 16) | 0x0040u;
  out.bits = static_cast<uint16_t>(v == v ? rounded : nan);
#endif
}

HALFTONE_HD void from_float(float v, float& out) { out = v; }

constexpr int pack_bytes(size_t element, int count) {
  return element * count < 16 ? static_cast<int>(element * count) : 16;
}

template <class T, int N>
struct alignas(pack_bytes(sizeof(T), N)) Pack {
  T v[N];
};

// A whole pack in one access for every 16 bytes. On a device in assembly: nvcc turns the store of a
// struct that was filled element by element into stores of elements.
template <class T, int N>
HALFTONE_HD void store_whole(T* p, const Pack<T, N>& values) {
#if defined(__CUDA_ARCH__)
  constexpr int kBytes = sizeof(Pack<T, N>), kWords = kBytes / 4;
  if constexpr (kBytes % 4 == 0 && (kWords <= 2 || kWords % 4 == 0)) {
    uint32_t w[kWords];
    memcpy(w, &values, kBytes);
    const size_t at = __cvta_generic_to_global(p);
    if constexpr (kWords == 1) {
      asm volatile("st.global.b32 [%0], %1;" ::"l"(at), "r"(w[0]) : "memory");
    } else if constexpr (kWords == 2) {
      asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(at), "r"(w[0]), "r"(w[1]) : "memory");
    } else {
      HALFTONE_UNROLL
      for (int k = 0; k < kWords; k += 4) {
        asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(at + 4 * k), "r"(w[k]),
                     "r"(w[k + 1]), "r"(w[k + 2]), "r"(w[k + 3])
                     : "memory");
      }
    }
    return;
  }
#endif
  *reinterpret_cast<Pack<T, N>*>(p) = values;
}

// Elements [i, i + N) of an array. Unless kWhole, only j in [from, to) exist, or the address is not
// aligned: one element at a time.
template <int N, bool kWhole>
struct Access {
  int64_t i;
  int from, to;

  HALFTONE_HD bool has(int j) const { return kWhole || ((j >= from) & (j < to)); }

  template <class T>
  HALFTONE_HD void load(const T* p, Pack<T, N>& out) const {
    if constexpr (kWhole) {
      out = *reinterpret_cast<const Pack<T, N>*>(p + i);
    } else {
      for (int j = 0; j < N; ++j) out.v[j] = has(j) ? p[i + j] : T{};
    }
  }

  template <class T>
  HALFTONE_HD void store(T* p, const Pack<T, N>& values) const {
    if constexpr (kWhole) {
      store_whole(p + i, values);
    } else {
      for (int j = 0; j < N; ++j) {
        if (has(j)) p[i + j] = values.v[j];
      }
    }
  }
};

// What an op reads and writes element by element, for the question where its packs are aligned.
struct ArrayUse {
  const void* data;  // null: not used
  int element_bytes;
};

template <int kCount>
struct ArrayList {
  ArrayUse list[kCount];
};

// The first index whose packs of `width` elements are aligned in every array; -1: they never are.
template <int kCount>
inline int common_lead(const ArrayList<kCount>& arrays, int width) {
  for (int lead = 0; lead < width; ++lead) {
    bool all = true;
    for (const ArrayUse& a : arrays.list) {
      const uintptr_t address = reinterpret_cast<uintptr_t>(a.data) + lead * a.element_bytes;
      all &= a.data == nullptr || address % pack_bytes(a.element_bytes, width) == 0;
    }
    if (all) return lead;
  }
  return -1;
}

}  // namespace halftone::kernels::cuda
