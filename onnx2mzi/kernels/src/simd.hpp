// Eight doubles in the widest registers of the target, and helpers around them.
//
// The same source is compiled once for every instruction set (KERNEL_ARCH names the namespace), so
// nothing here may instantiate templates of the standard library: the linker would be free to
// keep the copy that another processor cannot run.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace KERNEL_ARCH {

#if defined(__AVX512F__)
constexpr int NATIVE = 8;
#elif defined(__AVX2__)
constexpr int NATIVE = 4;
#else
constexpr int NATIVE = 2;
#endif
constexpr int W = 8, PARTS = W / NATIVE;

typedef double vn __attribute__((vector_size(8 * NATIVE)));
typedef int64_t vi __attribute__((vector_size(8 * NATIVE)));

struct alignas(64) V {
  vn p[PARTS];
};

#define BINARY(op)                                                  \
  static INLINE V operator op(const V &a, const V &b) {             \
    V r;                                                            \
    for (int i = 0; i < PARTS; i++) r.p[i] = a.p[i] op b.p[i];      \
    return r;                                                       \
  }                                                                 \
  static INLINE V operator op(double a, const V &b) {               \
    V r;                                                            \
    for (int i = 0; i < PARTS; i++) r.p[i] = a op b.p[i];           \
    return r;                                                       \
  }
BINARY(+)
BINARY(-)
BINARY(*)
BINARY(/)
#undef BINARY

static INLINE V zero() {
  V r;
  for (int i = 0; i < PARTS; i++) r.p[i] = vn{};
  return r;
}
static INLINE V splat(double a) {
  V r;
  for (int i = 0; i < PARTS; i++) r.p[i] = vn{} + a;
  return r;
}
static INLINE V load(const double *q) {
  V r;
  std::memcpy(&r, q, sizeof r);
  return r;
}
static INLINE void store(double *q, const V &a) { std::memcpy(q, &a, sizeof a); }
static INLINE double sum(const V &a) {
  double r = 0.0;
  for (int i = 0; i < PARTS; i++)
    for (int j = 0; j < NATIVE; j++) r += a.p[i][j];
  return r;
}

// The transpose in place of an 8 x 8 block, one row a vector.
#if defined(__AVX512F__)
// Halves of the rows are paired by loads: only one port shuffles, and it multiplies as well.
static INLINE void transpose(V *m) {
  const double *d = reinterpret_cast<const double *>(m);
  __m512d r[8], t[8];
  for (int h = 0; h < 2; h++)
    for (int i = 0; i < 4; i++)
      r[4 * h + i] = _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_load_pd(d + 8 * i + 4 * h)),
                                        _mm256_load_pd(d + 8 * (i + 4) + 4 * h), 1);
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
  const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
  }
  for (int h = 0; h < 8; h += 4)
    for (int j = 0; j < 2; j++) {
      m[h + j].p[0] = (vn)_mm512_permutex2var_pd(t[h + j], low, t[h + j + 2]);
      m[h + j + 2].p[0] = (vn)_mm512_permutex2var_pd(t[h + j], high, t[h + j + 2]);
    }
}
#elif defined(__AVX2__)
static INLINE void transpose4(const __m256d *a, __m256d *b) {
  __m256d t0 = _mm256_unpacklo_pd(a[0], a[1]), t1 = _mm256_unpackhi_pd(a[0], a[1]);
  __m256d t2 = _mm256_unpacklo_pd(a[2], a[3]), t3 = _mm256_unpackhi_pd(a[2], a[3]);
  b[0] = _mm256_permute2f128_pd(t0, t2, 0x20);
  b[1] = _mm256_permute2f128_pd(t1, t3, 0x20);
  b[2] = _mm256_permute2f128_pd(t0, t2, 0x31);
  b[3] = _mm256_permute2f128_pd(t1, t3, 0x31);
}
static INLINE void transpose(V *m) {
  __m256d a[4], b[4], c[4];
  for (int h = 0; h < 2; h++) {
    for (int i = 0; i < 4; i++) a[i] = (__m256d)m[4 * h + i].p[h];
    transpose4(a, b);
    for (int i = 0; i < 4; i++) m[4 * h + i].p[h] = (vn)b[i];
  }
  for (int i = 0; i < 4; i++) a[i] = (__m256d)m[i].p[1];
  transpose4(a, b);
  for (int i = 0; i < 4; i++) a[i] = (__m256d)m[4 + i].p[0];
  transpose4(a, c);
  for (int i = 0; i < 4; i++) m[i].p[1] = (vn)c[i], m[4 + i].p[0] = (vn)b[i];
}
#else
static inline void transpose(V *m) {
  double *d = reinterpret_cast<double *>(m);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < i; j++) {
      double t = d[8 * i + j];
      d[8 * i + j] = d[8 * j + i];
      d[8 * j + i] = t;
    }
}
#endif

static INLINE void prefetch(const void *q) { __builtin_prefetch(q, 1, 3); }

// Zeroed or raw memory, aligned to cache lines; large blocks ask for huge pages.
struct Block {
  void *base;
  explicit Block(size_t bytes, bool clear = false) {
    size_t align = bytes >= (size_t(4) << 20) ? size_t(2) << 20 : 64;
    size_t size = (bytes + align - 1) / align * align;
    base = nullptr;
    if (posix_memalign(&base, align, size ? size : align) != 0) base = nullptr;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (base && align > 64) madvise(base, size, MADV_HUGEPAGE);
#endif
    if (base && clear) std::memset(base, 0, bytes);
  }
  ~Block() { free(base); }
  Block(const Block &) = delete;
  Block &operator=(const Block &) = delete;
  V *vectors() const { return static_cast<V *>(base); }
  double *doubles() const { return static_cast<double *>(base); }
};

}  // namespace KERNEL_ARCH
