// Random numbers that belong to a device, those of NATIVE copies at a time: the numbers of
// onnx2mzi.physics.imperfection_random, which is the oracle.
//
// Several go in lockstep, so that one's multiplications fill the others' waiting times.
#pragma once
#include "sample.hpp"

namespace KERNEL_ARCH {

#define EACH _Pragma("GCC unroll 8") for (int j = 0; j < M; j++)

// A device's part of all its counters.
static INLINE uint64_t first_of(uint64_t device) { return device * 32 * 0x9E3779B97F4A7C15u; }

template <int M> static INLINE void hashes(vu key, uint64_t device, const int *number, vu *z) {
  EACH z[j] = key + (device + uint64_t(number[j]) * 0x9E3779B97F4A7C15u);
  EACH z[j] = (z[j] ^ (z[j] >> 30)) * 0xBF58476D1CE4E5B9u;
  EACH z[j] = (z[j] ^ (z[j] >> 27)) * 0x94D049BB133111EBu;
  EACH z[j] ^= z[j] >> 31;
}

// Numbers in (0, 1), 52 bits: both of a stream.
static INLINE void flats(vu key, uint64_t device, int stream, vn *to) {
  const int number[2] = {2 * stream + 1, 2 * stream + 2};
  vu z[2];
  hashes<2>(key, device, number, z);
  for (int j = 0; j < 2; j++)
    to[j] = ((vn)((z[j] >> 12) | 0x3FF0000000000000u) - 1.0) + 0x1p-53;
}

template <int M> static INLINE void sincos_eighths(const vn *r, vn *s, vn *c) {
  vn z[M], a[M], b[M];
  EACH z[j] = r[j] * r[j];
  EACH a[j] = 1.58962301576546568060e-10 * z[j] - 2.50507477628578072866e-8;
  EACH b[j] = -1.13585365213876817300e-11 * z[j] + 2.08757008419747316778e-9;
  EACH a[j] = a[j] * z[j] + 2.75573136213857245213e-6;
  EACH b[j] = b[j] * z[j] - 2.75573141792967388112e-7;
  EACH a[j] = a[j] * z[j] - 1.98412698295895385996e-4;
  EACH b[j] = b[j] * z[j] + 2.48015872888517045348e-5;
  EACH a[j] = a[j] * z[j] + 8.33333333332211858878e-3;
  EACH b[j] = b[j] * z[j] - 1.38888888888730564116e-3;
  EACH a[j] = a[j] * z[j] - 1.66666666666666307295e-1;
  EACH b[j] = b[j] * z[j] + 4.16666666666665929218e-2;
  EACH s[j] = r[j] + r[j] * (z[j] * a[j]);
  EACH c[j] = (1.0 - 0.5 * z[j]) + z[j] * (z[j] * b[j]);
}

template <int M> static INLINE void quadrants(const vi *k, vn *s, vn *c) {
  EACH {
    const vi odd = (k[j] << 63) >> 63, turn = (k[j] << 62) & INT64_MIN;
    const vi u = ((vi)c[j] & odd) | ((vi)s[j] & ~odd), v = ((vi)s[j] & odd) | ((vi)c[j] & ~odd);
    s[j] = (vn)(u ^ turn);
    c[j] = (vn)(v ^ turn ^ (odd << 63));
  }
}

// As sincos_part.
template <int M> static INLINE void sincoses(const vn *x, vn *s, vn *c) {
  vn t[M], r[M];
  vi k[M];
  EACH t[j] = x[j] * 0.63661977236758138 + 6755399441055744.0;
  EACH k[j] = (vi)t[j], t[j] = t[j] - 6755399441055744.0;
  EACH r[j] = x[j] - t[j] * 1.57079625129699707031;
  EACH r[j] = r[j] - t[j] * 7.54978941586159635335e-8;
  EACH r[j] = r[j] - t[j] * 5.39030285815811905290e-15;
  sincos_eighths<M>(r, s, c);
  quadrants<M>(k, s, c);
}

// Of angles that are hardly ever larger than pi/4.
template <int M> static INLINE void sincoses_small(const vn *x, vn *s, vn *c) {
  vi far = magnitude(x[0]) > 0.25 * PI;
  for (int j = 1; j < M; j++) far |= magnitude(x[j]) > 0.25 * PI;
  if (__builtin_expect(any(far), 0)) sincoses<M>(x, s, c);
  else sincos_eighths<M>(x, s, c);
}

// Of 64-bit integers that are small.
static INLINE vn whole(vi a) {
#if defined(__AVX512DQ__)
  return (vn)_mm512_cvtepi64_pd((__m512i)a);
#else
  return (vn)(a + 0x4338000000000000) - 6755399441055744.0;
#endif
}

// As logarithm, of x 2^shift.
template <int M> static INLINE void logarithms(vn *x, int64_t shift) {
  vn k[M], f[M], s[M], z[M], r[M];
  EACH {
    const vi bits = (vi)x[j], above = bits - 0x3FE6A09E667F3BCD;  // sqrt(1/2)
    f[j] = (vn)(bits - (above & ~0xFFFFFFFFFFFFF)) - 1.0;
    k[j] = whole((above >> 52) + shift);
  }
  EACH s[j] = f[j] / (2.0 + f[j]);
  EACH z[j] = s[j] * s[j];
  EACH r[j] = 1.479819860511658591e-1 * z[j] + 1.531383769920937332e-1;
  EACH r[j] = r[j] * z[j] + 1.818357216161805012e-1;
  EACH r[j] = r[j] * z[j] + 2.222219843214978396e-1;
  EACH r[j] = r[j] * z[j] + 2.857142874366239149e-1;
  EACH r[j] = r[j] * z[j] + 3.999999999940941908e-1;
  EACH r[j] = (r[j] * z[j] + 6.666666666666735130e-1) * z[j];
  EACH {
    const vn half = 0.5 * f[j] * f[j];
    x[j] = k[j] * 6.93147180369123816490e-1 -
           ((half - (s[j] * (half + r[j]) + k[j] * 1.90821492927058770002e-10)) - f[j]);
  }
}

// Box and Muller's two normal numbers of M streams, from 32 bits each for radius and angle.
template <int M>
static INLINE void pairs_of(vu key, uint64_t device, const int *stream, vn (*to)[2]) {
  const vu exponent = vu{} + 0x4330000000000000u;
  int number[M];
  vu z[M];
  vi k[M];
  vn radius[M], angle[M], s[M], c[M];
  EACH number[j] = 2 * stream[j] + 1;
  hashes<M>(key, device, number, z);
  EACH radius[j] = (vn)((z[j] >> 32) | exponent) - (0x1p52 - 0.5);
  EACH angle[j] = 0x1p-30 * ((vn)((z[j] & 0xFFFFFFFFu) | exponent) - (0x1p52 - 0.5));
  logarithms<M>(radius, -32);
  EACH {
    const vn t = angle[j] + 6755399441055744.0;
    k[j] = (vi)t, angle[j] = (angle[j] - (t - 6755399441055744.0)) * (0.5 * PI);
  }
  sincos_eighths<M>(angle, s, c);
  quadrants<M>(k, s, c);
  EACH radius[j] = root(-2.0 * radius[j]);
  EACH to[j][0] = radius[j] * c[j], to[j][1] = radius[j] * s[j];
}

// Those of any number of streams, to to[stream].
static INLINE void normals_of(vu key, uint64_t device, int count, const int *stream, vn (*to)[2]) {
  vn part[3][2];
  for (int at = 0; at < count; at += 3) {
    const int left = count - at < 3 ? count - at : 3;
    if (left == 3) pairs_of<3>(key, device, stream + at, part);
    else if (left == 2) pairs_of<2>(key, device, stream + at, part);
    else pairs_of<1>(key, device, stream + at, part);
    for (int j = 0; j < left; j++)
      for (int which = 0; which < 2; which++) to[stream[at + j]][which] = part[j][which];
  }
}

#undef EACH

// Stream 0 of devices first, first + 1, ..., both numbers of each: count numbers in all.
static inline void many_normals(uint64_t key, uint64_t first, size_t count, double *to) {
  constexpr int M = 3;
  const int next[M] = {0, 16, 32};  // streams of a device end where the next device begins
  vu keys;
  for (int l = 0; l < NATIVE; l++) keys[l] = key + first_of(first + uint64_t(l * M));
  for (size_t at = 0; at < count; at += 2 * M * NATIVE) {
    vn part[M][2];
    pairs_of<M>(keys, first_of(at / 2), next, part);
    for (size_t l = 0, k = at; l < size_t(NATIVE); l++)
      for (int j = 0; j < M; j++)
        for (int which = 0; which < 2 && k < count; which++, k++) to[k] = part[j][which][l];
  }
}

// Both numbers of every device and copy: a, then b (copies, count).
static inline void device_normals(size_t copies, const uint64_t *keys, size_t count,
                                  const uint64_t *device, int stream, double *to) {
  for (size_t c = 0; c < copies; c += NATIVE) {
    const size_t width = copies - c < size_t(NATIVE) ? copies - c : size_t(NATIVE);
    vu key = vu{};
    for (size_t l = 0; l < width; l++) key[l] = keys[c + l];
    for (size_t k = 0; k < count; k++) {
      vn pair[1][2];
      pairs_of<1>(key, first_of(device[k]), &stream, pair);
      for (size_t l = 0; l < width; l++)
        for (size_t which = 0; which < 2; which++)
          to[(which * copies + c + l) * count + k] = pair[0][which][l];
    }
  }
}

}  // namespace KERNEL_ARCH
