// K1: the rectangular mesh of a unitary (Clements et al., Optica 3, 1460 (2016)).
//
// V = J U (rows reversed). Sweep i = 1 .. n-1 nulls the anti-diagonal a + b = i - 1 of V: odd
// sweeps rotate columns, even sweeps are the same kernel with rows and columns exchanged. Of
// the two indices of an element, the one that a sweep rotates is its position, the other its
// line. On every line a carry z walks from position i to 0 past the elements x:
//     element[i - t] = fz z + fx x,   z <- zz z + zx x,   x = element[i - 1 - t]
// Rotation t is decided on line t, where it makes the carry 0, and used by all lines > t.
//
// Storage: 8 x 8 tiles, re and im apart, lanes along the lines; a tile is transposed when the side
// changes. Lines that no sweep of a group decides on wait for the end of the group and then take
// four sweeps of one side in one pass. While eight lines decide, the next eight catch up: the
// latency of the square roots hides behind their arithmetic.
#pragma once
#include "angles.hpp"

namespace KERNEL_ARCH {

struct Rotation {
  double fz, fxr, fxi, zz, zxr, zxi, pad[2];
};

// What the mesh needs of a rotation, sweep after sweep; (er, ei) is e or e'.
struct Record {
  double *s, *c, *er, *ei;
};

static INLINE double tiny_scale(double a, double b) {
  double m = a > b ? a : b;
  return m < 1e-100 ? 0x1p900 : 1.0;
}

// side 0: M(theta, phi)^dagger from the right; side 1: (diag(1, e) [[s, c], [c, -s]])^dagger from
// the left. Both null x. s = |z| / h, c = |x| / h.
static INLINE void decide_complex(double xr, double xi, double zr, double zi, int side,
                                  Rotation &g, Record o, size_t k) {
  double x2 = xr * xr + xi * xi, z2 = zr * zr + zi * zi, s, c, er, ei;
  if (__builtin_expect(x2 > 1e-200 && z2 > 1e-200, 1)) {
    double ax = std::sqrt(x2), az = std::sqrt(z2), h = 1.0 / std::sqrt(x2 + z2);
    double q = 1.0 / (ax * az);
    s = az * h, c = ax * h;
    er = (xr * zr + xi * zi) * q, ei = (xr * zi - xi * zr) * q;
  } else {
    double ax = std::hypot(xr, xi), az = std::hypot(zr, zi), f = tiny_scale(ax, az);
    er = side ? 1.0 : -1.0, ei = 0.0, s = 0.0, c = 1.0;
    if (ax > 0.0 || az > 0.0) {
      double h = std::hypot(f * ax, f * az);
      s = f * az / h, c = f * ax / h;
    }
    if (ax > 0.0 && az > 0.0) {
      double fx = tiny_scale(ax, 0.0), fz = tiny_scale(az, 0.0);
      xr *= fx, xi *= fx, zr *= fz, zi *= fz;
      ax = std::hypot(xr, xi), az = std::hypot(zr, zi);
      xr /= ax, xi /= ax, zr /= az, zi /= az;
      er = xr * zr + xi * zi, ei = xr * zi - xi * zr;
      double h = 1.0 / std::hypot(er, ei);
      er *= h, ei *= h;
    }
  }
  double sign = side ? 1.0 : -1.0;
  g.fz = sign * s, g.fxr = sign * c * er, g.fxi = sign * c * ei;
  g.zz = c, g.zxr = -s * er, g.zxi = -s * ei;
  // a = conj(x) z / |x z| is e'^* on the left and -e^* on the right.
  o.s[k] = s, o.c[k] = c, o.er[k] = sign * er, o.ei[k] = -sign * ei;
}

static INLINE void decide_real(double x, double z, int side, Rotation &g, Record o, size_t k) {
  double h2 = x * x + z * z, s, c, sign = side ? 1.0 : -1.0;
  if (__builtin_expect(h2 > 1e-200 && x != 0.0, 1)) {
    double q = std::copysign(1.0 / std::sqrt(h2), x);
    c = x * q, s = sign * z * q;
  } else {
    double f = tiny_scale(std::fabs(x), std::fabs(z)), h = std::hypot(f * x, f * z);
    if (h == 0.0) s = 0.0, c = 1.0;
    else if (x == 0.0) s = 1.0, c = 0.0;
    else c = std::fabs(f * x) / h, s = sign * std::copysign(f * z / h, z * std::copysign(1.0, x));
  }
  // f = sign (s z + sign c x) with s signed: left f = s z + c x, right f = c x - s z.
  g.fz = sign * s, g.fxr = c, g.zz = c, g.zxr = -sign * s;
  o.s[k] = s, o.c[k] = c;
}

template <bool CX> struct Tiles {
  static constexpr int SIZE = CX ? 2 * W : W;  // vectors of a tile
  int n, side_tiles;
  Block memory, flags;
  V *data;
  uint8_t *turned;
  explicit Tiles(int size)
      : n(size), side_tiles((size + W - 1) / W),
        memory(size_t(side_tiles) * side_tiles * SIZE * sizeof(V), true),
        flags(size_t(side_tiles) * side_tiles, true), data(memory.vectors()),
        turned(static_cast<uint8_t *>(flags.base)) {}
  bool ok() const { return memory.base && flags.base; }
  // Vectors between the tiles of neighbouring position blocks, and the first tile of a panel.
  ptrdiff_t stride(int side) const { return ptrdiff_t(SIZE) * (side ? side_tiles : 1); }
  V *panel(int side, int a) const { return data + size_t(SIZE) * (side ? a : size_t(a) * side_tiles); }
  // Lanes of the tile along the lines of this side.
  INLINE void orient(int side, int a, int b) {
    size_t k = side ? size_t(b) * side_tiles + a : size_t(a) * side_tiles + b;
    if (turned[k] == side) return;
    turned[k] = uint8_t(side);
    V *t = data + k * SIZE;
    transpose(t);
    if (CX) transpose(t + W);
  }
  double *element(int r, int c, int part) const {
    size_t k = size_t(r / W) * side_tiles + c / W;
    int q = turned[k] ? r % W : c % W, l = turned[k] ? c % W : r % W;
    return reinterpret_cast<double *>(data + k * SIZE + part * W + q) + l;
  }
};

template <bool CX> struct Carry {
  V r, i;
};

template <bool CX> static INLINE void rotate(const Rotation &g, Carry<CX> &z, V &xr, V &xi) {
  if (CX) {
    V fr = g.fz * z.r + g.fxr * xr - g.fxi * xi, fi = g.fz * z.i + g.fxr * xi + g.fxi * xr;
    V tr = g.zxr * xr - g.zxi * xi, ti = g.zxr * xi + g.zxi * xr;
    z.r = g.zz * z.r + tr, z.i = g.zz * z.i + ti;
    xr = fr, xi = fi;
  } else {
    V f = g.fz * z.r + g.fxr * xr;
    z.r = g.zz * z.r + g.zxr * xr;
    xr = f;
  }
}

// One panel of eight lines in sweep i: the carry, and rotations 0 .. t - 1 done.
template <bool CX> struct Chain {
  Tiles<CX> *tiles;
  V *base;
  ptrdiff_t stride;
  int side, panel, i, t;
  Carry<CX> z;
  V *at(int p) const { return base + (p >> 3) * stride + (p & 7); }
  void start(Tiles<CX> &m, int of_side, int of_panel, int sweep) {
    tiles = &m, side = of_side, panel = of_panel, i = sweep, t = 0;
    base = m.panel(side, panel), stride = m.stride(side);
    m.orient(side, panel, i >> 3);
    V *e = at(i);
    z.r = e[0];
    if (CX) z.i = e[W];
  }
  INLINE void step(const Rotation &g, const V *x, V *out) {
    V xr = x[0], xi;
    if (CX) xi = x[W];
    rotate<CX>(g, z, xr, xi);
    out[0] = xr;
    if (CX) out[W] = xi;
  }
  void run(const Rotation *g, int end) {
    Carry<CX> saved = z;
    Chain c = *this;
    c.z = saved;
    while (c.t < end) {
      int p = i - 1 - c.t, q = p & 7, count = q + 1 < end - c.t ? q + 1 : end - c.t;
      V *x = c.at(p), *out = c.at(p + 1);
      if (q == W - 1) c.tiles->orient(side, panel, p >> 3);
      V *ahead = x - q - 2 * stride;
      if (p >= 3 * W)
        for (int j = 0; j < Tiles<CX>::SIZE; j++) prefetch(ahead + j);
      c.step(g[c.t], x, out);
      if (count == W) {
#pragma GCC unroll 7
        for (int j = 1; j < W; j++) c.step(g[c.t + j], x - j, x - j + 1);
      } else {
        for (int j = 1; j < count; j++) c.step(g[c.t + j], x - j, x - j + 1);
      }
      c.t += count;
    }
    *this = c;
  }
  // Decides rotation t on lane l and applies it.
  INLINE void decide(Rotation *g, int l, Record o, size_t k) {
    V *x = at(i - 1 - t);
    if (((i - 1 - t) & 7) == W - 1) tiles->orient(side, panel, (i - 1 - t) >> 3);
    double *zr = reinterpret_cast<double *>(&z.r), *xr = reinterpret_cast<double *>(x);
    if (CX) {
      double *zi = reinterpret_cast<double *>(&z.i);
      decide_complex(xr[l], xr[W * W + l], zr[l], zi[l], side, g[t], o, k);
      step(g[t], x, at(i - t));
      zi[l] = 0.0;
    } else {
      decide_real(xr[l], zr[l], side, g[t], o, k);
      step(g[t], x, at(i - t));
    }
    zr[l] = 0.0;
    t++;
  }
  void finish() {
    V *e = at(i - t);
    e[0] = z.r;
    if (CX) e[W] = z.i;
  }
};

// Where the records of sweep i begin.
static INLINE size_t first_record(int i) { return size_t(i) * (i - 1) / 2; }

// Sweep i over panels 0 .. panels - 1, deciding its rotations.
template <bool CX> static void sweep(Tiles<CX> &m, int i, int panels, Rotation *g, Record o) {
  const int side = i & 1 ? 0 : 1;
  Chain<CX> now, next;
  now.start(m, side, 0, i);
  for (int a = 0; a < panels; a++) {
    int first = a * W, top = first + W < i ? first + W : i;
    bool more = a + 1 < panels;
    if (more) next.start(m, side, a + 1, i);
    int known = first < i ? first : i;
    now.run(g, known);
    for (int t = known; t < top; t++) {
      now.decide(g, t - first, o, first_record(i) + t);
      if (more) next.run(g, (t - first + 1) * known / W);
    }
    now.finish();
    if (more) now = next;
  }
}

// Sweeps i, i + 2, .. (F of them, rotations g[0 .. F-1]) in one pass over a panel without decisions.
template <bool CX, int F>
static void fused(Tiles<CX> &m, int side, int i, int panel, const Rotation *const *g) {
  const int top = i + 2 * (F - 1);
  for (int b = 0; b <= top >> 3; b++) m.orient(side, panel, b);
  V *base = m.panel(side, panel);
  const ptrdiff_t stride = m.stride(side);
  auto at = [=](int p) { return base + (p >> 3) * stride + (p & 7); };
  Carry<CX> z[F];
  auto get = [&](int p, V &r, V &im) {
    V *e = at(p);
    r = e[0];
    if (CX) im = e[W];
  };
  auto put = [&](int p, const V &r, const V &im) {
    V *e = at(p);
    e[0] = r;
    if (CX) e[W] = im;
  };
  V xr, xi = zero();
  // Chain k (0 ..) stands k positions above p; rotation i + k - 1 - p.
  for (int first = F - 1; first >= 0; first--) {
    int p = i + first;
    get(p + first, z[first].r, z[first].i);
    if (first == F - 1) continue;
    get(p + first + 1, xr, xi);
    for (int k = first + 1; k < F; k++) rotate<CX>(g[k][i + k - 1 - p], z[k], xr, xi);
    put(p + F, xr, xi);
  }
  for (int p = i - 1; p >= 0; p--) {
    get(p, xr, xi);
#pragma GCC unroll 4
    for (int k = 0; k < F; k++) rotate<CX>(g[k][i + k - 1 - p], z[k], xr, xi);
    put(p + F, xr, xi);
  }
  for (int d = 1; d < F; d++) {
    xr = z[d - 1].r;
    if (CX) xi = z[d - 1].i;
    for (int k = d; k < F; k++) rotate<CX>(g[k][i + k - 1 + d], z[k], xr, xi);
    put(F - d, xr, xi);
  }
  put(0, z[F - 1].r, z[F - 1].i);
}

template <bool CX>
static void late(Tiles<CX> &m, int side, int from, int last, int panel, const Rotation *pool,
                 size_t pitch, int group) {
  int i = from;
  const Rotation *g[4];
  for (; i + 6 <= last; i += 8) {
    for (int k = 0; k < 4; k++) g[k] = pool + size_t(i + 2 * k - group) * pitch;
    fused<CX, 4>(m, side, i, panel, g);
  }
  for (; i <= last; i += 2) {
    g[0] = pool + size_t(i - group) * pitch;
    fused<CX, 1>(m, side, i, panel, g);
  }
}

// U (n x n, interleaved when complex) to the records and the residual diagonal d (n complex).
// Returns the root mean square over the rows of what is left beside a unitary diagonal; < 0: no
// memory.
template <bool CX> static double null_all(int n, const double *u, Record o, double *d) {
  Tiles<CX> m(n);
  const size_t pitch = size_t(n) + 2 * W;
  const int group_size = n <= 512 ? 16 : 32;
  Block pool_memory(pitch * group_size * sizeof(Rotation));
  if (!m.ok() || !pool_memory.base) return -1.0;
  Rotation *pool = static_cast<Rotation *>(pool_memory.base);
  constexpr int P = CX ? 2 : 1;
  for (int r = 0; r < n; r++) {
    int a = n - 1 - r;
    const double *row = u + size_t(r) * n * P;
    for (int b = 0; b < n; b++) {
      double *t = reinterpret_cast<double *>(m.panel(0, a / W) + size_t(b / W) * m.SIZE + b % W);
      t[a % W] = row[P * b];
      if (CX) t[W * W + a % W] = row[P * b + 1];
    }
  }
  for (int group = 1; group < n; group += group_size) {
    int last = group + group_size - 1 < n - 1 ? group + group_size - 1 : n - 1;
    int near = (last + 1) / W + 1 < m.side_tiles ? (last + 1) / W + 1 : m.side_tiles;
    for (int i = group; i <= last; i++) sweep<CX>(m, i, near, pool + size_t(i - group) * pitch, o);
    for (int side = 0; side < 2; side++)
      for (int a = near; a < m.side_tiles; a++) {
        int from = group + ((group & 1) == side ? 1 : 0);
        late<CX>(m, side, from, last, a, pool, pitch, group);
      }
  }
  double defect = 0.0;
  for (int r = 0; r < n; r++)
    for (int c = r; c < n; c++) {
      double re = *m.element(n - 1 - r, c, 0), im = CX ? *m.element(n - 1 - r, c, 1) : 0.0;
      if (c == r) {
        double h = std::hypot(re, im);
        d[2 * r] = h > 0.0 ? re / h : 1.0, d[2 * r + 1] = h > 0.0 ? im / h : 0.0;
        defect += (h - 1.0) * (h - 1.0);
      } else {
        defect += re * re + im * im;
      }
    }
  return std::sqrt(defect / n);
}

// The left rotations are pushed through the diagonal d: L_1 .. L_k d = d' M_1 .. M_k.
template <bool CX> static void push(int n, Record o, double *d) {
  for (int i = (n - 1) & ~1; i > 0; i -= 2)
    for (int t = i - 1; t >= 0; t--) {
      size_t k = first_record(i) + t;
      double *d1 = d + 2 * (n - i + t - 1), *d2 = d1 + 2;
      double ar = d1[0], ai = d1[1], br = d2[0], bi = d2[1];
      double er = CX ? o.er[k] : 1.0, ei = CX ? o.ei[k] : 0.0;
      if (o.c[k] == 0.0 || o.s[k] == 0.0) {
        bool bar = o.c[k] == 0.0;
        if (bar) o.s[k] = std::fabs(o.s[k]);
        double tr = bar ? br : ar, ti = bar ? bi : ai;
        if (!bar) d1[0] = br, d1[1] = bi;
        d2[0] = er * tr - ei * ti, d2[1] = er * ti + ei * tr;
        if (CX) o.er[k] = 1.0, o.ei[k] = 0.0;
      } else if (CX) {
        o.er[k] = ar * br + ai * bi, o.ei[k] = ai * br - ar * bi;
        d1[0] = br, d1[1] = bi;
        d2[0] = er * br - ei * bi, d2[1] = er * bi + ei * br;
      } else {
        o.s[k] *= ar * br;
        d1[0] = br, d2[0] = ar;
      }
    }
}

// From the order of the sweeps to the order of the mesh, in blocks that stay in the cache.
static void reorder(int n, const double *from, double *to) {
  constexpr int B = 32;
  for (int i0 = 1; i0 < n; i0 += B)
    for (int t0 = 0; t0 < n; t0 += B)
      for (int i = i0; i < i0 + B && i < n; i++)
        for (int t = t0; t < t0 + B && t < i; t++) {
          int column = i & 1 ? t : n - 1 - t, port = i & 1 ? i - 1 - t : n - i + t - 1;
          size_t base = size_t(column / 2) * (n - 1) + (column & 1 ? n / 2 : 0);
          to[base + (port - (column & 1)) / 2] = from[first_record(i) + t];
        }
}

// Phases of the mesh from the records and the residual diagonal.
template <bool CX>
static void assemble(int n, Record o, double *d, double *theta, double *phi, double *out) {
  const size_t count = size_t(n) * (n - 1) / 2;
  push<CX>(n, o, d);
  thetas(count, o.s, o.c, o.s);
  reorder(n, o.s, theta);
  if (CX) {
    phases(count, o.ei, o.er, o.er);
    reorder(n, o.er, phi);
    for (int p = 0; p < n; p++) o.s[p] = d[2 * p + 1], o.c[p] = d[2 * p];
    phases(n, o.s, o.c, out);
  } else {
    std::memset(phi, 0, count * sizeof(double));
    for (int p = 0; p < n; p++) out[p] = d[2 * p] < 0.0 ? PI : 0.0;
  }
}

template <bool CX>
static double clements(int n, const double *u, double *theta, double *phi, double *out) {
  size_t count = size_t(n) * (n - 1) / 2, room = (count > size_t(n) ? count : size_t(n)) + W;
  Block memory((4 * room + 2 * size_t(n)) * sizeof(double));
  if (!memory.base) return -1.0;
  double *q = memory.doubles();
  Record o = {q, q + room, q + 2 * room, q + 3 * room};
  double *d = q + 4 * room;
  double defect = null_all<CX>(n, u, o, d);
  if (defect >= 0.0) assemble<CX>(n, o, d, theta, phi, out);
  return defect;
}

}  // namespace KERNEL_ARCH
