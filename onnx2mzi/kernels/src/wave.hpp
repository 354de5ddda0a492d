// K2 and K3: light through a mesh, eight vectors at a time, and backwards with the gradients.
#pragma once
#include "plan.hpp"

namespace KERNEL_ARCH {

// Eight columns of a row-major (ports, batch) array, real and imaginary parts apart.
#if defined(__AVX512F__)
static INLINE void split8(const double *q, V *to) {
  const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
  __m512d a = _mm512_loadu_pd(q), b = _mm512_loadu_pd(q + 8);
  to[0].p[0] = (vn)_mm512_permutex2var_pd(a, even, b);
  to[1].p[0] = (vn)_mm512_permutex2var_pd(a, odd, b);
}
static INLINE void join8(const V *from, double *q) {
  const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  __m512d a = (__m512d)from[0].p[0], b = (__m512d)from[1].p[0];
  _mm512_storeu_pd(q, _mm512_permutex2var_pd(a, low, b));
  _mm512_storeu_pd(q + 8, _mm512_permutex2var_pd(a, high, b));
}
#else
static INLINE void split8(const double *q, V *to) {
  double *re = reinterpret_cast<double *>(to), *im = re + W;
  for (int l = 0; l < W; l++) re[l] = q[2 * l], im[l] = q[2 * l + 1];
}
static INLINE void join8(const V *from, double *q) {
  const double *re = reinterpret_cast<const double *>(from), *im = re + W;
  for (int l = 0; l < W; l++) q[2 * l] = re[l], q[2 * l + 1] = im[l];
}
#endif

template <bool CX>
static void fetch(const double *x, int ports, size_t batch, size_t b, int w, V *to, int step) {
  constexpr int P = CX ? 2 : 1;
  for (int m = 0; m < ports; m++, to += step) {
    const double *q = x + P * (size_t(m) * batch + b);
    if (w == W) {
      if (CX) split8(q, to);
      else to[0] = load(q);
    } else {
      double part[2 * W] = {0.0};
      std::memcpy(part, q, size_t(w) * P * sizeof(double));
      if (CX) split8(part, to);
      else to[0] = load(part);
    }
  }
}

template <bool CX>
static void deliver(double *y, int ports, size_t batch, size_t b, int w, const V *from, int step) {
  constexpr int P = CX ? 2 : 1;
  for (int m = 0; m < ports; m++, from += step) {
    double *q = y + P * (size_t(m) * batch + b);
    if (w == W) {
      if (CX) join8(from, q);
      else store(q, from[0]);
    } else {
      double part[2 * W];
      if (CX) join8(from, part);
      else store(part, from[0]);
      std::memcpy(q, part, size_t(w) * P * sizeof(double));
    }
  }
}

// L x 8 numbers of one mode: re and im, L vectors each.
template <bool CX, int L> struct Mode {
  V r[L], i[CX ? L : 1];
};
template <bool CX, int L> static INLINE Mode<CX, L> get(const V *e) {
  Mode<CX, L> a;
  for (int l = 0; l < L; l++) {
    a.r[l] = e[(CX ? 2 : 1) * l];
    if (CX) a.i[l] = e[2 * l + 1];
  }
  return a;
}
template <bool CX, int L> static INLINE void put(V *e, const Mode<CX, L> &a) {
  for (int l = 0; l < L; l++) {
    e[(CX ? 2 : 1) * l] = a.r[l];
    if (CX) e[2 * l + 1] = a.i[l];
  }
}

// z upper input, becomes the lower output; x lower input, becomes the upper output.
template <bool CX, int L>
static INLINE void pass(const Scaled &g, bool bar, Mode<CX, L> &z, Mode<CX, L> &x) {
  Mode<CX, L> u, f;
  for (int l = 0; l < L; l++) {
    if (CX) {
      u.r[l] = g.er * z.r[l] - g.ei * z.i[l];
      u.i[l] = g.er * z.i[l] + g.ei * z.r[l];
    } else {
      u.r[l] = z.r[l];
    }
  }
  if (__builtin_expect(!bar, 1)) {
    for (int l = 0; l < L; l++) {
      f.r[l] = x.r[l] + g.t1 * u.r[l], z.r[l] = u.r[l] - g.t2 * x.r[l];
      if (CX) f.i[l] = x.i[l] + g.t1 * u.i[l], z.i[l] = u.i[l] - g.t2 * x.i[l];
    }
  } else {
    for (int l = 0; l < L; l++) {
      f.r[l] = u.r[l] + g.t1 * x.r[l], z.r[l] = x.r[l] - g.t2 * u.r[l];
      if (CX) f.i[l] = u.i[l] + g.t1 * x.i[l], z.i[l] = x.i[l] - g.t2 * u.i[l];
    }
  }
  x = f;
}
template <bool CX, int L>
static INLINE void pass(const General &g, bool, Mode<CX, L> &z, Mode<CX, L> &x) {
  const double *m = g.m;
  for (int l = 0; l < L; l++) {
    V fr = m[0] * z.r[l] - m[1] * z.i[l] + m[2] * x.r[l] - m[3] * x.i[l];
    V fi = m[0] * z.i[l] + m[1] * z.r[l] + m[2] * x.i[l] + m[3] * x.r[l];
    V yr = m[4] * z.r[l] - m[5] * z.i[l] + m[6] * x.r[l] - m[7] * x.i[l];
    V yi = m[4] * z.i[l] + m[5] * z.r[l] + m[6] * x.i[l] + m[7] * x.r[l];
    z.r[l] = yr, z.i[l] = yi, x.r[l] = fr, x.i[l] = fi;
  }
}

template <bool CX, int L, class Cell>
static INLINE void pass_stored(const Cell &g, bool bar, V *upper) {
  constexpr int P = CX ? 2 * L : L;
  Mode<CX, L> z = get<CX, L>(upper), x = get<CX, L>(upper + P);
  pass<CX, L>(g, bar, z, x);
  put<CX, L>(upper, x);
  put<CX, L>(upper + P, z);
}

// F neighbouring diagonals (each to the upper left of the last) side by side.
template <bool CX, int L, int F, class Cell>
static inline void bundle(const Plan<Cell> &plan, const Diagonal *q, V *buf) {
  constexpr int P = CX ? 2 * L : L;
  const Cell *slots = plan.slots.data;
  const uint8_t *bars = plan.bars.data;
  int begin = 1 << 30, end = -1, low = 0, high = 1 << 30;
  for (int j = 0; j < F; j++) {
    int a = q[j].low + j, b = q[j].high + j;
    low = a > low ? a : low, high = b < high ? b : high;
    if (a > b) continue;
    begin = a < begin ? a : begin, end = b > end ? b : end;
  }
  auto slow = [&](int from, int to) {
    for (int p = from; p <= to; p++)
      for (int j = 0; j < F; j++)
        if (p - j >= q[j].low && p - j <= q[j].high) {
          size_t k = q[j].at + (p - j - q[j].low);
          pass_stored<CX, L>(slots[k], bars[k], buf + ptrdiff_t(p - j) * P);
        }
  };
  if (low > high) return slow(begin, end);
  slow(begin, low - 1);
  Mode<CX, L> z[F];
  const Cell *g[F];
  const uint8_t *kind[F];
#pragma GCC unroll 4
  for (int j = 0; j < F; j++) {
    z[j] = get<CX, L>(buf + ptrdiff_t(low - j) * P);
    g[j] = slots + q[j].at + (low - j - q[j].low) - low;
    kind[j] = bars + q[j].at + (low - j - q[j].low) - low;
  }
  V *in = buf + ptrdiff_t(low + 1) * P, *out = buf + ptrdiff_t(low - F + 1) * P;
  for (int p = low; p <= high; p++, in += P, out += P) {
    Mode<CX, L> x = get<CX, L>(in);
#pragma GCC unroll 4
    for (int j = 0; j < F; j++) pass<CX, L>(g[j][p], kind[j][p], z[j], x);
    put<CX, L>(out, x);
  }
#pragma GCC unroll 4
  for (int j = 0; j < F; j++) put<CX, L>(buf + ptrdiff_t(high + 1 - j) * P, z[j]);
  slow(high + 1, end);
}

// 8 L vectors through the mesh. `identity` >= 0: they are the unit vectors from that port on, and
// what lies outside of their light cone stays 0 and is skipped.
template <bool CX, int L, class Cell>
static void through(const Plan<Cell> &plan, V *buf, int identity) {
  constexpr int P = CX ? 2 * L : L, F = NATIVE == 8 && L < 4 ? 4 : 2;
  const int ports = plan.mesh.ports;
  for (size_t n = 0; n < plan.segments.size; n++) {
    const Segment &s = plan.segments.data[n];
    const Diagonal *q = plan.diagonals.data + s.diagonal_base;
    if (s.diagonals == 0)
      for (size_t k = 0; k < s.end - s.first; k++)
        pass_stored<CX, L>(plan.slots.data[q->at + k], plan.bars.data[q->at + k],
                           buf + ptrdiff_t(plan.mesh.port[s.first + k]) * P);
    for (size_t i = 0; i < s.diagonals; i += F) {
      Diagonal part[F];
      for (int j = 0; j < F; j++) {
        part[j] = i + j < s.diagonals ? q[i + j] : Diagonal{1 << 29, -1, 0};
        if (identity < 0 || part[j].low > part[j].high) continue;
        int d = s.lowest + 2 * int(s.diagonals - 1 - (i + j));
        int reach = d + (identity - d > 0 ? (identity - d) / 2 : 0);
        if (d > identity + W * L - 1) part[j].low = 1 << 29, part[j].high = -1;
        else if (reach > part[j].low) part[j].at += reach - part[j].low, part[j].low = reach;
      }
      bundle<CX, L, F>(plan, part, buf);
    }
    if (plan.scales.size == 0 || n + 1 == plan.segments.size) continue;
    for (int m = 0; m < ports * P; m++) buf[m] = plan.scales.data[n * ports + m / P] * buf[m];
  }
  const double *scale = plan.scales.size ? plan.scales.data + plan.scales.size - ports : nullptr;
  for (int m = 0; m < ports; m++) {
    double w = scale ? scale[m] : 1.0, c = w * plan.factors[m], d = w * plan.factors[ports + m];
    V *e = buf + ptrdiff_t(m) * P;
    for (int l = 0; l < P; l += CX ? 2 : 1) {
      V r = c * e[l];
      if (CX) r = r - d * e[l + 1], e[l + 1] = c * e[l + 1] + d * e[l];
      e[l] = r;
    }
  }
}

template <bool CX, int L, class Cell>
static void panel(const Plan<Cell> &plan, const double *x, size_t batch, size_t b, V *buf,
                  double *y) {
  constexpr int P = CX ? 2 : 1;
  const int ports = plan.mesh.ports;
  size_t left = batch - b;
  auto width = [=](int l) {
    return left < size_t(l + 1) * W ? int(left) - l * W : W;
  };
  if (x) {
    for (int l = 0; l < L; l++) fetch<CX>(x, ports, batch, b + l * W, width(l), buf + l * P, L * P);
  } else {
    std::memset(static_cast<void *>(buf), 0, size_t(ports) * L * P * sizeof(V));
    for (int l = 0; l < L; l++)
      for (int j = 0; j < width(l); j++)
        reinterpret_cast<double *>(buf + (b + l * W + j) * L * P + l * P)[j] = 1.0;
  }
  through<CX, L>(plan, buf, x ? -1 : int(b));
  for (int l = 0; l < L; l++) deliver<CX>(y, ports, batch, b + l * W, width(l), buf + l * P, L * P);
}

// y (ports, batch); x = nullptr: the unit matrix (batch = ports).
template <bool CX, class Cell>
static bool propagate(const Plan<Cell> &plan, const double *x, size_t batch, double *y) {
  constexpr int L = 2;
  Block memory(size_t(plan.mesh.ports + 1) * 2 * L * 2 * sizeof(V));
  V *buf = memory.vectors();
  if (!buf || !plan.ok()) return false;
  size_t b = 0;
  // Beyond the caches the cells are what moves: more vectors share them.
  if (plan.mesh.ports >= 640)
    for (; b < batch && batch - b > size_t(W) * (2 * L - 1); b += 2 * W * L)
      panel<CX, 2 * L>(plan, x, batch, b, buf, y);
  for (; b < batch && batch - b > size_t(W) * (L - 1); b += W * L)
    panel<CX, L>(plan, x, batch, b, buf, y);
  for (; b < batch; b += W) panel<CX, 1>(plan, x, batch, b, buf, y);
  return true;
}

template <bool CX>
static bool forward(const Mesh &mesh, const double *x, size_t batch, double *y) {
  Plan<Scaled> plan(mesh);
  if (!plan.ok()) return false;
  scale_cells(plan);
  if (!CX)  // out is 0 or pi: exactly 1 or -1
    for (int p = 0; p < mesh.ports; p++) plan.factors[p] = plan.factors[p] < 0.0 ? -1.0 : 1.0;
  return propagate<CX>(plan, x, batch, y);
}

}  // namespace KERNEL_ARCH
