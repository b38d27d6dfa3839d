// Cuts a slab's pixels into tiles of nearly one size. Include inside the body's own namespace,
// behind its kMaxPixels<V> and tile<P, V, Sink>(job, first, sink).

inline const Slab& slab_of(const Slab& s) { return s; }
inline const Slab& slab_of(const BitSlab& b) { return b.slab; }

// Entry P of the table is the tile of P pixels.
template <class Job, int V, class Sink, class Sequence>
struct Tiles;
template <class Job, int V, class Sink, int... P>
struct Tiles<Job, V, Sink, std::integer_sequence<int, P...>> {
  using Tile = void (*)(const Job&, int64_t, const Sink&);
  static constexpr Tile kTable[] = {nullptr, tile<P + 1, V, Sink>...};
};

template <int V, class Sink, class Job>
void multiply_into(const Job& job) {
  constexpr int kMax = kMaxPixels<V>;
  using Table = Tiles<Job, V, Sink, std::make_integer_sequence<int, kMax>>;
  const Slab& s = slab_of(job);
  const Sink sink(s);
  const int64_t tiles = (s.pixels + kMax - 1) / kMax;
  for (int64_t i = 0, first = 0; i < tiles; ++i) {
    const int64_t end = s.pixels * (i + 1) / tiles;
    Table::kTable[end - first](job, first, sink);
    first = end;
  }
}

template <int V, class Job>
void multiply_vectors(const Job& job) {
  const Slab& s = slab_of(job);
  if (s.codes != nullptr) return multiply_into<V, ToCodes<V>>(job);
  if (s.reals != nullptr) return multiply_into<V, ToReals<V>>(job);
  multiply_into<V, ToSums<V>>(job);
}

template <class Job>
void multiply_tiles(const Job& job) {
  const int32_t vectors = slab_of(job).vectors;
  if (vectors == 1) return multiply_vectors<1>(job);
  if (vectors == 2) return multiply_vectors<2>(job);
  if (vectors == 3) return multiply_vectors<3>(job);
  multiply_vectors<4>(job);
}
