// Imperfect copies: counter-based random errors, perturbed cells, and light through them.
#pragma once
#include "wave.hpp"

namespace KERNEL_ARCH {

struct Sigmas {
  double theta, phi, coupler, loss, mean_loss;
};

static INLINE vn root(vn a) {
#if defined(__AVX512F__)
  return (vn)_mm512_sqrt_pd((__m512d)a);
#elif defined(__AVX2__)
  return (vn)_mm256_sqrt_pd((__m256d)a);
#else
  for (int i = 0; i < NATIVE; i++) a[i] = std::sqrt(a[i]);
  return a;
#endif
}

// Of positive normal numbers (fdlibm).
static INLINE vn logarithm(vn x) {
  vi bits = (vi)x, e = (bits >> 52) - 1023;
  vn m = (vn)((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000);
  vi high = m > 1.41421356237309505;
  m = pick(high, 0.5 * m, m), e = e - high;
  vn k = (vn)(e + 0x4338000000000000) - 6755399441055744.0;
  vn f = m - 1.0, s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  vn r = 1.479819860511658591e-1 * z + 1.531383769920937332e-1;
  r = r * z + 1.818357216161805012e-1;
  r = r * z + 2.222219843214978396e-1;
  r = r * z + 2.857142874366239149e-1;
  r = r * z + 3.999999999940941908e-1;
  r = (r * z + 6.666666666666735130e-1) * z;
  return k * 6.93147180369123816490e-1 -
         ((half - (s * (half + r) + k * 1.90821492927058770002e-10)) - f);
}

static INLINE vn exponential(vn x) {  // x <= 0
  x = pick(x < -700.0, vn{} - 700.0, x);
  vn t = x * 1.44269504088896338700 + 6755399441055744.0, k = t - 6755399441055744.0;
  vn r = (x - k * 6.93147180369123816490e-1) - k * 1.90821492927058770002e-10;
  vn p = vn{} + 1.0 / 6227020800.0;
  const double terms[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                          1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0};
  for (double a : terms) p = p * r + a;
  return (vn)((vi)p + ((vi)t << 52));
}

static INLINE uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
static INLINE uint64_t copy_key(uint64_t seed, uint64_t copy) {
  return mix(mix(seed + 0x9E3779B97F4A7C15u) + (copy + 1) * 0xD1B54A32D192ED03u);
}

typedef uint64_t vu __attribute__((vector_size(8 * NATIVE)));

static INLINE vn uniform(vu key, vu counter) {
  vu z = key + counter * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return ((vn)((z >> 12) | 0x3FF0000000000000u) - 1.0) + 0x1p-53;
}

// Normals 2 j and 2 j + 1 of an MZI.
static INLINE void normals(vu key, vu address, int j, vn &a, vn &b) {
  vu counter = address * 8 + uint64_t(2 * j);
  vn radius = root(-2.0 * logarithm(uniform(key, counter + 1)));
  vn angle = 2.0 * PI * (uniform(key, counter + 2) - 0.5), s, c;
  sincos_part(angle, s, c);
  a = radius * c, b = radius * s;
}

// Cells of one copy, written to where[k].
static void draw(const Mesh &m, const Angles &base, const Sigmas &sigma, uint64_t key,
                 const size_t *where, General *to) {
  const vu keys = vu{} + key;
  for (size_t k = 0; k < m.count; k += NATIVE) {
    const int w = m.count - k < size_t(NATIVE) ? int(m.count - k) : NATIVE;
    vu address = vu{};
    vn hs = vn{}, hc = vn{} + 1.0, phi = vn{};
    for (int l = 0; l < w; l++) {
      address[l] = uint64_t(m.column[k + l]) * uint64_t(m.ports) + uint64_t(m.port[k + l]);
      hs[l] = base.s[k + l], hc[l] = base.c[k + l], phi[l] = m.phi[k + l];
    }
    vn n[6];
    for (int j = 0; j < 3; j++) normals(keys, address, j, n[2 * j], n[2 * j + 1]);
    vn ds, dc, us, uc, s1, c1, s2, c2;
    sincos_part(sigma.theta * n[0], ds, dc);
    sincos_part(phi + sigma.phi * n[1], us, uc);
    sincos_part(0.25 * PI + sigma.coupler * n[2], s1, c1);
    sincos_part(0.25 * PI + sigma.coupler * n[3], s2, c2);
    vn loss = sigma.mean_loss + sigma.loss * n[4];
    loss = pick(loss < 0.0, vn{}, loss);
    vn amplitude = exponential(-0.11512925464970228420 * loss);
    uc = uc * amplitude, us = us * amplitude;
    // lit = e^{i (theta/2 + d)}, dark = e^{-i theta/2}
    vn lr = hc * dc - hs * ds, li = hs * dc + hc * ds;
    vn cc = c2 * c1, ss = s2 * s1, cs = c2 * s1, sc = s2 * c1;
    vn ar = cc * li + ss * hs, ai = ss * hc - cc * lr;  // -i (cc lit - ss dark)
    vn br = cs * lr + sc * hc, bi = cs * li - sc * hs;  // cs lit + sc dark
    vn cr = sc * lr + cs * hc, ci = sc * li - cs * hs;  // sc lit + cs dark
    vn er = -cc * hs - ss * li, ei = ss * lr - cc * hc;  // -i (cc dark - ss lit)
    vn out[8] = {ar * uc - ai * us, ar * us + ai * uc, br * amplitude, bi * amplitude,
                 cr * uc - ci * us, cr * us + ci * uc, er * amplitude, ei * amplitude};
    for (int l = 0; l < w; l++) {
      double *q = to[where[k + l]].m;
      for (int j = 0; j < 8; j++) q[j] = out[j][l];
    }
  }
}

// y (count, ports, batch) for the copies first .. first + count - 1.
static inline bool imperfect(const Mesh &mesh, const double *x, size_t batch, const Sigmas &sigma,
                             uint64_t seed, uint64_t first, size_t count, double *y) {
  Angles base(mesh);
  Plan<General> plan(mesh);
  Block memory((mesh.count + 1) * sizeof(General), true), slots((mesh.count + 1) * sizeof(size_t));
  if (!plan.ok() || !base.s || !memory.base || !slots.base) return false;
  plan.where = static_cast<size_t *>(slots.base);
  general_cells(plan, memory.doubles());
  if (!plan.ok()) return false;
  for (size_t c = 0; c < count; c++) {
    draw(mesh, base, sigma, copy_key(seed, first + c), plan.where, plan.slots.data);
    if (!propagate<true>(plan, x, batch, y + 2 * c * mesh.ports * batch)) return false;
  }
  return true;
}

}  // namespace KERNEL_ARCH
