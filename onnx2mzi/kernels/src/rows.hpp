// Truncated triangles: the rows of an isometry (or of a unitary, Reck et al., PRL 73, 58 (1994))
// are nulled one after the other, from the last port upwards.
//
// Eight rows are a panel, lanes along the rows. A panel first takes the rotations of all rows above,
// four rows in one pass, and then decides its own.
#pragma once
#include "clements.hpp"

namespace KERNEL_ARCH {

// Where the records of row k begin.
static INLINE size_t row_record(int n, int k) { return size_t(k) * (n - 1) - size_t(k) * (k - 1) / 2; }

// Rotation r of row k acts on ports n - 2 - r and the next; index by port.
template <bool CX, int F>
static void rows_above(const Rotation *all, int n, int k, V *buf) {
  constexpr int P = CX ? 2 : 1;
  Carry<CX> z[F];
  const Rotation *g[F];
  for (int j = 0; j < F; j++) g[j] = all + row_record(n, k + j) + (n - 2);
  z[0].r = buf[(n - 1) * P];
  if (CX) z[0].i = buf[(n - 1) * P + 1];
  for (int p = n - 2; p >= k; p--) {
    V xr = buf[p * P], xi;
    if (CX) xi = buf[p * P + 1];
    rotate<CX>(g[0][-p], z[0], xr, xi);
    bool carried = false;
    for (int j = 1; j < F; j++) {
      if (p + j == n - 1) {
        z[j].r = xr;
        if (CX) z[j].i = xi;
        carried = true;
        break;
      }
      rotate<CX>(g[j][-(p + j)], z[j], xr, xi);
    }
    if (carried) continue;
    buf[(p + F) * P] = xr;
    if (CX) buf[(p + F) * P + 1] = xi;
  }
  for (int j = 0; j < F; j++) {
    buf[(k + j) * P] = z[j].r;
    if (CX) buf[(k + j) * P + 1] = z[j].i;
  }
}

// a: element (row, port) at a[P (row stride_row + port stride_port)]. Phases in the order of the
// nulling; d: what remains on the diagonal, r complex units. `transposed`: for the columns of
// the transpose, the phases are pushed through d to the outputs (n of them).
template <bool CX>
static double isometry(int r, int n, const double *a, size_t stride_row, size_t stride_port,
                       bool transposed, double *theta, double *phi, double *out) {
  constexpr int P = CX ? 2 : 1;
  const int channels = r < n ? r : n - 1;
  const size_t count = row_record(n, channels);
  Block rotations((count + 1) * sizeof(Rotation)), memory(size_t(n) * P * sizeof(V));
  Block records((4 * (count + 1) + 4 * size_t(n)) * sizeof(double));
  V *buf = memory.vectors();
  Rotation *g = static_cast<Rotation *>(rotations.base);
  double *q = records.doubles();
  if (!g || !buf || !q) return -1.0;
  Record o = {q, q + count + 1, q + 2 * (count + 1), q + 3 * (count + 1)};
  double *d = q + 4 * (count + 1), defect = 0.0;
  double *flat = reinterpret_cast<double *>(buf);
  for (int first = 0; first < r; first += W) {
    const int top = first + W < r ? first + W : r;
    std::memset(static_cast<void *>(buf), 0, size_t(n) * P * sizeof(V));
    for (int k = first; k < top; k++)
      for (int p = 0; p < n; p++)
        for (int h = 0; h < P; h++)
          flat[(p * P + h) * W + k - first] = a[P * (k * stride_row + p * stride_port) + h];
    int k = 0, above = first < channels ? first : channels;
    for (; k + 4 <= above && k + 8 <= n; k += 4) rows_above<CX, 4>(g, n, k, buf);
    for (; k < above; k++) rows_above<CX, 1>(g, n, k, buf);
    for (k = first; k < top && k < channels; k++) {
      const int l = k - first;
      Carry<CX> z;
      z.r = buf[(n - 1) * P];
      if (CX) z.i = buf[(n - 1) * P + 1];
      for (int p = n - 2; p >= k; p--) {
        size_t at = row_record(n, k) + (n - 2 - p);
        double *zr = reinterpret_cast<double *>(&z.r), *zi = reinterpret_cast<double *>(&z.i);
        const double *x = flat + p * P * W + l;
        // Nulls the lower port: roles of x and carry exchanged against `clements`.
        if (CX) decide_complex(zr[l], zi[l], x[0], x[W], 1, g[at], o, at);
        else decide_real(zr[l], x[0], 1, g[at], o, at);
        double s = o.s[at], c = o.c[at], er = CX ? o.er[at] : 1.0, ei = CX ? -o.ei[at] : 0.0;
        bool empty = x[0] == 0.0 && (!CX || x[W] == 0.0);
        if (empty) s = 0.0, c = 1.0, er = 1.0, ei = 0.0;
        o.s[at] = s, o.c[at] = c;
        if (CX) o.er[at] = er, o.ei[at] = ei;
        // f = e^* c x - s z, z <- e^* s x + c z
        g[at] = Rotation{-s, c * er, -c * ei, c, s * er, -s * ei, {0.0, 0.0}};
        V xr = buf[p * P], xi;
        if (CX) xi = buf[p * P + 1];
        rotate<CX>(g[at], z, xr, xi);
        reinterpret_cast<double *>(&xr)[l] = 0.0;
        buf[(p + 1) * P] = xr;
        if (CX) {
          reinterpret_cast<double *>(&xi)[l] = 0.0;
          buf[(p + 1) * P + 1] = xi;
        }
      }
      buf[k * P] = z.r;
      if (CX) buf[k * P + 1] = z.i;
    }
    for (k = first; k < top; k++)
      for (int p = 0; p < n; p++) {
        double re = flat[p * P * W + k - first], im = CX ? flat[(p * P + 1) * W + k - first] : 0.0;
        if (p == k) {
          double h = std::hypot(re, im);
          d[2 * k] = h > 0.0 ? re / h : 1.0, d[2 * k + 1] = h > 0.0 ? im / h : 0.0;
          defect += (h - 1.0) * (h - 1.0);
        } else {
          defect += re * re + im * im;
        }
      }
  }
  for (int p = r; p < n; p++) d[2 * p] = 1.0, d[2 * p + 1] = 0.0;
  if (transposed)
    for (int k = channels - 1; k >= 0; k--)
      for (int p = k; p <= n - 2; p++) {
        size_t at = row_record(n, k) + (n - 2 - p);
        double *d1 = d + 2 * p, *d2 = d1 + 2, er = CX ? o.er[at] : 1.0, ei = CX ? o.ei[at] : 0.0;
        double ar = d1[0], ai = d1[1], br = d2[0], bi = d2[1];
        // diag(e, 1) [[s, c], [c, -s]] diag(d1, d2) = diag(e d2, d2) M(theta, arg d1 - arg d2)
        if (o.c[at] == 0.0 || o.s[at] == 0.0) {
          bool bar = o.c[at] == 0.0;
          if (bar) o.s[at] = std::fabs(o.s[at]);
          else d2[0] = ar, d2[1] = ai;
          double tr = bar ? ar : br, ti = bar ? ai : bi;
          d1[0] = er * tr - ei * ti, d1[1] = er * ti + ei * tr;
          if (CX) o.er[at] = 1.0, o.ei[at] = 0.0;
        } else if (CX) {
          o.er[at] = ar * br + ai * bi, o.ei[at] = ai * br - ar * bi;
          d1[0] = er * br - ei * bi, d1[1] = er * bi + ei * br;
        } else {
          o.s[at] *= ar * br;
          d1[0] = br, d2[0] = ar;
        }
      }
  thetas(count, o.s, o.c, theta);
  if (CX) phases(count, o.ei, o.er, phi);
  else std::memset(phi, 0, count * sizeof(double));
  double *re = d + 2 * size_t(n), *im = re + n;
  for (int p = 0; p < n; p++) re[p] = d[2 * p], im[p] = d[2 * p + 1];
  if (CX) phases(n, im, re, out);
  else for (int p = 0; p < n; p++) out[p] = re[p] < 0.0 ? PI : 0.0;
  return std::sqrt(defect / r);
}

}  // namespace KERNEL_ARCH
