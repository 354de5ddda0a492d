// Elementary functions on eight lanes, within about 1 ulp. Coefficients: Cephes (S. Moshier).
#pragma once
#include "simd.hpp"

namespace KERNEL_ARCH {

constexpr double PI = 3.14159265358979311600, PI_LOW = 1.22464679914735317636e-16;
constexpr double BELOW_PI = 3.14159265358979267191;

static INLINE vn pick(vi mask, vn a, vn b) { return (vn)((mask & (vi)a) | (~mask & (vi)b)); }
static INLINE vn magnitude(vn a) { return (vn)((vi)a & INT64_MAX); }
static INLINE vn with_sign(vn a, vn sign) { return (vn)((vi)a | ((vi)sign & INT64_MIN)); }

static INLINE bool any(vi mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
  return (mask[0] | mask[1]) != 0;
#endif
}

static INLINE vn atan2_part(vn y, vn x) {
  const vn one = vn{} + 1.0;
  vn ax = magnitude(x), ay = magnitude(y);
  vi steep = ay > ax;
  vn big = pick(steep, ay, ax), small = pick(steep, ax, ay);
  // Far below the normal range the quotient of the sum and the difference needs no care: big is
  // a modulus of a unit vector here, or both are 0.
  vi mid = small > 0.41421356237309503 * big;
  vn num = pick(mid, small - big, small), den = pick(mid, small + big, big);
  den = pick(den == 0.0, one, den);
  vn t = num / den, z = t * t;
  vn p = -8.750608600031904122785e-1 * z - 1.615753718733365076637e1;
  p = p * z - 7.500855792314704667340e1;
  p = p * z - 1.228866684490136173410e2;
  p = p * z - 6.485021904942025371773e1;
  vn q = z + 2.485846490142306297962e1;
  q = q * z + 1.650270098316988542046e2;
  q = q * z + 4.328810604912902668951e2;
  q = q * z + 4.853903996359136964868e2;
  q = q * z + 1.945506571482613964425e2;
  vn a = t + t * (z * p / q);
  // a in [-pi/8, pi/8] is the angle from 0 or from pi/4, then mirrored at pi/4 and at pi/2.
  vn base = pick(mid, vn{} + 0.25 * PI, vn{}), low = pick(mid, vn{} + 0.25 * PI_LOW, vn{});
  vi west = (vi)x < 0;
  vn sign = pick(steep, -one, one);
  base = pick(steep, 0.5 * PI - base, base);
  low = pick(steep, 0.5 * PI_LOW - low, low);
  sign = pick(west, -sign, sign);
  base = pick(west, PI - base, base);
  low = pick(west, PI_LOW - low, low);
  return with_sign(base + (sign * a + low), y);
}

// Angle of (x, y), in (-pi, pi]: -pi becomes pi.
static inline void phases(size_t n, const double *y, const double *x, double *out) {
  for (size_t k = 0; k < n; k += NATIVE) {
    vn a, b;
    size_t m = n - k < size_t(NATIVE) ? n - k : size_t(NATIVE);
    if (m == size_t(NATIVE)) {
      std::memcpy(&a, y + k, sizeof a);
      std::memcpy(&b, x + k, sizeof b);
    } else {
      a = vn{}, b = vn{} + 1.0;
      for (size_t j = 0; j < m; j++) a[j] = y[k + j], b[j] = x[k + j];
    }
    vn r = atan2_part(a, b) + 0.0;
    r = pick(r <= -PI, vn{} + PI, r);
    if (m == size_t(NATIVE)) std::memcpy(out + k, &r, sizeof r);
    else for (size_t j = 0; j < m; j++) out[k + j] = r[j];
  }
}

// theta = 2 atan2(s, c), in (-pi, pi].
static inline void thetas(size_t n, const double *s, const double *c, double *out) {
  for (size_t k = 0; k < n; k += NATIVE) {
    vn a, b;
    size_t m = n - k < size_t(NATIVE) ? n - k : size_t(NATIVE);
    if (m == size_t(NATIVE)) {
      std::memcpy(&a, s + k, sizeof a);
      std::memcpy(&b, c + k, sizeof b);
    } else {
      a = vn{}, b = vn{} + 1.0;
      for (size_t j = 0; j < m; j++) a[j] = s[k + j], b[j] = c[k + j];
    }
    vn r = 2.0 * atan2_part(a, b);
    r = pick(r < -BELOW_PI, vn{} - BELOW_PI, r) + 0.0;
    r = pick(r > PI, vn{} + PI, r);
    if (m == size_t(NATIVE)) std::memcpy(out + k, &r, sizeof r);
    else for (size_t j = 0; j < m; j++) out[k + j] = r[j];
  }
}

// Reduction to |r| <= pi/4 in three parts: good to 1 ulp up to |x| of about 1e6.
static INLINE void sincos_part(vn x, vn &s, vn &c) {
  const vn magic = vn{} + 6755399441055744.0;
  vn t = x * 0.63661977236758138 + magic;
  vi k = (vi)t;
  vn q = t - magic;
  vn r = x - q * 1.57079625129699707031;
  r = r - q * 7.54978941586159635335e-8;
  r = r - q * 5.39030285815811905290e-15;
  vn z = r * r;
  vn a = 1.58962301576546568060e-10 * z - 2.50507477628578072866e-8;
  a = a * z + 2.75573136213857245213e-6;
  a = a * z - 1.98412698295895385996e-4;
  a = a * z + 8.33333333332211858878e-3;
  a = a * z - 1.66666666666666307295e-1;
  a = r + r * (z * a);
  vn b = -1.13585365213876817300e-11 * z + 2.08757008419747316778e-9;
  b = b * z - 2.75573141792967388112e-7;
  b = b * z + 2.48015872888517045348e-5;
  b = b * z - 1.38888888888730564116e-3;
  b = b * z + 4.16666666666665929218e-2;
  b = (1.0 - 0.5 * z) + z * (z * b);
  vi odd = -(k & 1);
  vn u = pick(odd, b, a), v = pick(odd, a, b);
  s = (vn)((vi)u ^ ((k & 2) << 62));
  c = (vn)((vi)v ^ (((k + 1) & 2) << 62));
}

static inline void sincos(size_t n, const double *x, double scale, double *s, double *c) {
  for (size_t k = 0; k < n; k += NATIVE) {
    vn a = vn{}, u, v;
    size_t m = n - k < size_t(NATIVE) ? n - k : size_t(NATIVE);
    if (m == size_t(NATIVE)) std::memcpy(&a, x + k, sizeof a);
    else for (size_t j = 0; j < m; j++) a[j] = x[k + j];
    a = a * scale;
    sincos_part(a, u, v);
    vi far = magnitude(a) > 1e5;
    if (__builtin_expect(any(far), 0))
      for (size_t j = 0; j < m; j++)
        if (far[j]) u[j] = std::sin(a[j]), v[j] = std::cos(a[j]);
    if (m == size_t(NATIVE)) {
      std::memcpy(s + k, &u, sizeof u);
      std::memcpy(c + k, &v, sizeof v);
    } else {
      for (size_t j = 0; j < m; j++) s[k + j] = u[j], c[k + j] = v[j];
    }
  }
}

}  // namespace KERNEL_ARCH
