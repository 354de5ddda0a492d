// K3: gradients of all phases, and the fields next to every MZI.
#pragma once
#include "wave.hpp"

namespace KERNEL_ARCH {

// Adds the sums of the lanes of a and b to to[0] and to[1].
static INLINE void add_sums(const V &a, const V &b, double *to) {
#if defined(__AVX512F__)
  __m512d x = (__m512d)a.p[0], y = (__m512d)b.p[0];
  __m512d t = _mm512_unpacklo_pd(x, y) + _mm512_unpackhi_pd(x, y);
  __m256d h = _mm512_castpd512_pd256(t) + _mm512_extractf64x4_pd(t, 1);
  _mm_storeu_pd(to, _mm_loadu_pd(to) + (_mm256_castpd256_pd128(h) + _mm256_extractf128_pd(h, 1)));
#elif defined(__AVX2__)
  __m256d h = _mm256_hadd_pd((__m256d)(a.p[0] + a.p[1]), (__m256d)(b.p[0] + b.p[1]));
  _mm_storeu_pd(to, _mm_loadu_pd(to) + (_mm256_castpd256_pd128(h) + _mm256_extractf128_pd(h, 1)));
#else
  to[0] += sum(a), to[1] += sum(b);
#endif
}

// Vectors of a panel and diagonals of a bundle that the registers hold.
constexpr int BACK_L = NATIVE == 8 ? 2 : 1, BACK_F = 2;
constexpr Diagonal NONE = {1 << 29, -(1 << 29), 0};

// Outputs y and gradients g of one mode, L vectors each of y.re, y.im, g.re, g.im.
template <int L> struct Pair {
  V yr[L], yi[L], gr[L], gi[L];
};
template <int L> static INLINE Pair<L> get_pair(const V *e) {
  Pair<L> a;
  for (int l = 0; l < L; l++, e += 4) a.yr[l] = e[0], a.yi[l] = e[1], a.gr[l] = e[2], a.gi[l] = e[3];
  return a;
}
template <int L> static INLINE void put_pair(V *e, const Pair<L> &a) {
  for (int l = 0; l < L; l++, e += 4) e[0] = a.yr[l], e[1] = a.yi[l], e[2] = a.gr[l], e[3] = a.gi[l];
}

// z lower output, becomes the upper input; a upper output, becomes the lower input.
template <int L>
static INLINE void back(const Scaled &g, bool bar, Pair<L> &z, Pair<L> &a, double *sums) {
  V at = zero(), ap = zero();
  for (int l = 0; l < L; l++) {
    at = at + a.gr[l] * z.yr[l];
    at = at + a.gi[l] * z.yi[l];
    at = at - z.gr[l] * a.yr[l];
    at = at - z.gi[l] * a.yi[l];
  }
  Pair<L> u;
  if (__builtin_expect(!bar, 1)) {
    for (int l = 0; l < L; l++) {
      u.yr[l] = z.yr[l] + g.t1 * a.yr[l], a.yr[l] = a.yr[l] - g.t2 * z.yr[l];
      u.yi[l] = z.yi[l] + g.t1 * a.yi[l], a.yi[l] = a.yi[l] - g.t2 * z.yi[l];
      u.gr[l] = z.gr[l] + g.t1 * a.gr[l], a.gr[l] = a.gr[l] - g.t2 * z.gr[l];
      u.gi[l] = z.gi[l] + g.t1 * a.gi[l], a.gi[l] = a.gi[l] - g.t2 * z.gi[l];
    }
  } else {
    for (int l = 0; l < L; l++) {
      u.yr[l] = a.yr[l] + g.t1 * z.yr[l], a.yr[l] = z.yr[l] - g.t2 * a.yr[l];
      u.yi[l] = a.yi[l] + g.t1 * z.yi[l], a.yi[l] = z.yi[l] - g.t2 * a.yi[l];
      u.gr[l] = a.gr[l] + g.t1 * z.gr[l], a.gr[l] = z.gr[l] - g.t2 * a.gr[l];
      u.gi[l] = a.gi[l] + g.t1 * z.gi[l], a.gi[l] = z.gi[l] - g.t2 * a.gi[l];
    }
  }
  for (int l = 0; l < L; l++) {
    ap = ap + u.gi[l] * u.yr[l];
    ap = ap - u.gr[l] * u.yi[l];
    z.yr[l] = g.er * u.yr[l] + g.ei * u.yi[l];
    z.yi[l] = g.er * u.yi[l] - g.ei * u.yr[l];
    z.gr[l] = g.er * u.gr[l] + g.ei * u.gi[l];
    z.gi[l] = g.er * u.gi[l] - g.ei * u.gr[l];
  }
  add_sums(at, ap, sums);
}

// F neighbouring diagonals against the light, the last of them (upper right) first.
template <int L, int F>
static inline void back_bundle(const Plan<Scaled> &plan, const Diagonal *q, V *buf, double *sums) {
  constexpr int P = 4 * L;
  const Scaled *slots = plan.slots.data;
  const uint8_t *bars = plan.bars.data;
  int begin = 1 << 30, end = -(1 << 30), low = -(1 << 30), high = 1 << 30;
  for (int j = 0; j < F; j++) {
    int a = q[j].low - j, b = q[j].high - j;
    low = a > low ? a : low, high = b < high ? b : high;
    if (a > b) continue;
    begin = a < begin ? a : begin, end = b > end ? b : end;
  }
  auto slow = [&](int from, int to) {
    for (int p = from; p >= to; p--)
      for (int j = 0; j < F; j++)
        if (p + j >= q[j].low && p + j <= q[j].high) {
          size_t k = q[j].at + (p + j - q[j].low);
          V *e = buf + ptrdiff_t(p + j) * P;
          Pair<L> a = get_pair<L>(e), z = get_pair<L>(e + P);
          back<L>(slots[k], bars[k], z, a, sums + 2 * k);
          put_pair<L>(e, z), put_pair<L>(e + P, a);
        }
  };
  if (low > high) return slow(end, begin);
  slow(end, high + 1);
  Pair<L> z[F];
  ptrdiff_t at[F];
#pragma GCC unroll 4
  for (int j = 0; j < F; j++) {
    z[j] = get_pair<L>(buf + ptrdiff_t(high + j + 1) * P);
    at[j] = ptrdiff_t(q[j].at) + j - q[j].low;
  }
  for (int p = high; p >= low; p--) {
    V *e = buf + ptrdiff_t(p) * P;
    Pair<L> a = get_pair<L>(e);
#pragma GCC unroll 4
    for (int j = 0; j < F; j++)
      back<L>(slots[at[j] + p], bars[at[j] + p], z[j], a, sums + 2 * (at[j] + p));
    put_pair<L>(e + F * P, a);
  }
#pragma GCC unroll 4
  for (int j = 0; j < F; j++) put_pair<L>(buf + ptrdiff_t(low + j) * P, z[j]);
  slow(low - 1, begin);
}

// `buf` (ports x 4 L vectors): outputs become inputs. sums: for theta and phi of each slot.
template <int L> static void backwards(const Plan<Scaled> &plan, V *buf, double *sums) {
  constexpr int P = 4 * L, F = BACK_F;
  const int ports = plan.mesh.ports;
  for (size_t n = 0; n < plan.segments.size; n++) {
    const Segment &s = plan.segments.data[n];
    const Diagonal *q = plan.diagonals.data + s.diagonal_base;
    if (s.diagonals == 0)
      for (size_t k = s.end; k-- > s.first;) {
        V *e = buf + ptrdiff_t(plan.mesh.port[k]) * P;
        Pair<L> a = get_pair<L>(e), z = get_pair<L>(e + P);
        size_t at = q->at + k - s.first;
        back<L>(plan.slots.data[at], plan.bars.data[at], z, a, sums + 2 * at);
        put_pair<L>(e, z), put_pair<L>(e + P, a);
      }
    for (size_t i = s.diagonals; i > 0; i -= i < F ? i : F) {
      Diagonal part[F];
      for (int j = 0; j < F; j++) part[j] = int(i) - 1 - j >= 0 ? q[i - 1 - j] : NONE;
      back_bundle<L, F>(plan, part, buf, sums);
    }
    for (int m = 0; m < ports * P; m++) buf[m] = plan.scales.data[n * ports + m / P] * buf[m];
  }
}

template <int L>
static void back_panel(const Plan<Scaled> &plan, const double *y, const double *g, size_t batch,
                       size_t b, V *buf, double *sums, double *grad_out, double *grad_x) {
  constexpr int P = 4 * L;
  const int ports = plan.mesh.ports;
  auto width = [=](int l) {
    return batch - b < size_t(l + 1) * W ? int(batch - b) - l * W : W;
  };
  for (int l = 0; l < L; l++) {
    fetch<true>(y, ports, batch, b + l * W, width(l), buf + 4 * l, P);
    fetch<true>(g, ports, batch, b + l * W, width(l), buf + 4 * l + 2, P);
  }
  for (int m = 0; m < ports; m++) {
    const double c = plan.factors[m], d = plan.factors[ports + m];
    V acc = zero();
    for (int l = 0; l < L; l++) {
      V *e = buf + ptrdiff_t(m) * P + 4 * l;
      acc = acc + e[3] * e[0] - e[2] * e[1];
      for (int h = 0; h < 4; h += 2) {
        V r = c * e[h] + d * e[h + 1];
        e[h + 1] = c * e[h + 1] - d * e[h], e[h] = r;
      }
    }
    grad_out[m] += sum(acc);
  }
  backwards<L>(plan, buf, sums);
  for (int l = 0; l < L; l++)
    deliver<true>(grad_x, ports, batch, b + l * W, width(l), buf + 4 * l + 2, P);
}

// Gradients from the outputs y and g = dL/dRe y + i dL/dIm y, both (ports, batch).
static inline bool vjp(const Mesh &mesh, const double *y, const double *g, size_t batch,
                       double *grad_theta, double *grad_phi, double *grad_out, double *grad_x) {
  constexpr int L = BACK_L;
  Plan<Scaled> plan(mesh);
  Block memory(size_t(mesh.ports + 1) * 4 * L * sizeof(V));
  Block kept((mesh.count + 1) * (2 * sizeof(double) + sizeof(size_t)));
  if (!plan.ok() || !memory.base || !kept.base) return false;
  V *buf = memory.vectors();
  double *weights = kept.doubles();
  plan.where = reinterpret_cast<size_t *>(weights + 2 * mesh.count);
  adjoint_cells(plan, weights);
  Block sum_memory((plan.slots.size + 1) * 2 * sizeof(double), true);
  double *sums = sum_memory.doubles();
  if (!plan.ok() || !sums) return false;
  for (int m = 0; m < mesh.ports; m++) grad_out[m] = 0.0;
  size_t b = 0;
  for (; b < batch && batch - b > size_t(W) * (L - 1); b += W * L)
    back_panel<L>(plan, y, g, batch, b, buf, sums, grad_out, grad_x);
  for (; b < batch; b += W) back_panel<1>(plan, y, g, batch, b, buf, sums, grad_out, grad_x);
  for (size_t k = 0; k < mesh.count; k++) {
    const double *t = sums + 2 * plan.where[k];
    grad_theta[k] = weights[2 * k] * t[0], grad_phi[k] = weights[2 * k + 1] * t[1];
  }
  return true;
}

// Fields at the inputs of each MZI (forwards, x) or the rows from each MZI's outputs to w^T y
// (transposed, x = w); taps (K, 2, batch).
static inline bool taps(const Mesh &mesh, const double *x, size_t batch, bool transposed,
                        double *to) {
  Angles a(mesh);
  Plan<General> plan(mesh);
  Block memory(size_t(mesh.ports) * 2 * sizeof(V));
  V *buf = memory.vectors();
  if (!plan.ok() || !a.s || !buf) return false;
  for (size_t b = 0; b < batch; b += W) {
    int w = batch - b < size_t(W) ? int(batch - b) : W;
    fetch<true>(x, mesh.ports, batch, b, w, buf, 2);
    if (transposed)
      for (int m = 0; m < mesh.ports; m++) {
        const double c = plan.factors[m], d = plan.factors[mesh.ports + m];
        V *e = buf + 2 * ptrdiff_t(m), r = c * e[0] - d * e[1];
        e[1] = c * e[1] + d * e[0], e[0] = r;
      }
    for (size_t done = 0; done < mesh.count; done++) {
      size_t k = transposed ? mesh.count - 1 - done : done;
      V *e = buf + 2 * ptrdiff_t(mesh.port[k]);
      deliver<true>(to + 4 * k * batch, 2, batch, b, w, e, 2);
      const double s = a.s[k], c = a.c[k], er = a.er[k], ei = a.ei[k];
      if (transposed) {
        V ur = s * e[0] + c * e[2], ui = s * e[1] + c * e[3];
        e[2] = c * e[0] - s * e[2], e[3] = c * e[1] - s * e[3];
        e[0] = er * ur - ei * ui, e[1] = er * ui + ei * ur;
      } else {
        V ur = er * e[0] - ei * e[1], ui = er * e[1] + ei * e[0];
        e[0] = s * ur + c * e[2], e[1] = s * ui + c * e[3];
        e[2] = c * ur - s * e[2], e[3] = c * ui - s * e[3];
      }
    }
  }
  return true;
}

}  // namespace KERNEL_ARCH
