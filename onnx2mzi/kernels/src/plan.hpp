// What a mesh is before light runs through it: cells with scaled rotations, sorted into chains.
//
// A rotation [[s, c], [c, -s]] costs four multiplications an element, but only two when common
// factors are left in a real scale of each mode (square-root-free rotations):
//     cross, |c| >= CUT:  y1 = c d2 (x2 + t1 u),   y2 =  c d1 (u - t2 x2)
//     bar, else:          y1 = s d1 (u + t1 x2),   y2 = -s d2 (x2 - t2 u)
// with u = e^{i phi} x1 and d the scales of the two modes. Terms keep their true proportions, so
// rounding is that of the plain rotation. Scales shrink; a segment ends before they become tiny.
//
// MZIs at (column + j, port + j) form a chain: the lower output of one is the upper input of the
// next and stays in registers. Chains are taken from the lower left to the upper right, several
// side by side, so that a mode is loaded and stored once for several MZIs.
#pragma once
#include "angles.hpp"

namespace KERNEL_ARCH {

struct Mesh {
  int ports;
  size_t count;
  const int32_t *column, *port;
  const double *theta, *phi, *out;
};

struct Scaled {
  double er, ei, t1, t2;
};

struct General {
  double m[8];
};

struct Segment {
  size_t first, end;  // MZIs
  size_t diagonals, diagonal_base;
  int lowest;  // port - column of the last diagonal
};

struct Diagonal {
  int low, high;  // ports of its first and last MZI; low > high: empty
  size_t at;      // slot of the MZI at port low
};

constexpr double CUT = 0.1;

template <class T> struct Array {  // grows; freed at the end
  T *data = nullptr;
  size_t size = 0, room = 0;
  bool failed = false;
  T *extend(size_t more) {
    if (size + more > room || !data) {
      room = (size + more) * 3 / 2 + 16;
      void *q = realloc(static_cast<void *>(data), room * sizeof(T));
      if (!q) {
        failed = true;
        return nullptr;
      }
      data = static_cast<T *>(q);
    }
    size += more;
    return data + size - more;
  }
  ~Array() { free(data); }
};

// Cell is Scaled or General; `slots` hold the cells in the order of the chains, `bars`
// tells which Scaled ones are bars.
template <class Cell> struct Plan {
  Mesh mesh;
  Array<Segment> segments;
  Array<Diagonal> diagonals;
  Array<Cell> slots;
  Array<uint8_t> bars;
  Array<double> scales;  // ports for each segment, at its end
  double *factors;          // e^{i out}: cos, then sin
  size_t *where = nullptr;  // if given, the slot of each MZI
  Block factor_memory;
  bool failed = false;

  explicit Plan(const Mesh &m)
      : mesh(m), factor_memory(size_t(m.ports) * 2 * sizeof(double)) {
    factors = factor_memory.doubles();
    if (!factors) failed = true;
    else sincos(m.ports, m.out, 1.0, factors + m.ports, factors);
  }
  bool ok() const {
    return !failed && !segments.failed && !diagonals.failed && !slots.failed && !bars.failed && !scales.failed;
  }

  // Sorts the MZIs [first, end) into chains; slot(k) then tells where a cell belongs. Slots of
  // chains that no MZI takes are `idle`: they pass both modes.
  bool arrange(size_t first, size_t end, const Cell &idle) {
    Segment *g = segments.extend(1);
    if (!g) return false;
    *g = Segment{first, end, 0, diagonals.size, 0};
    const int32_t *port = mesh.port, *column = mesh.column;
    if (end == first) return list(first, end);
    // All diagonals that the segment can touch; the outer ones may stay empty.
    int low = -column[end - 1], high = mesh.ports - 2 - column[first], mixed = 0;
    const int parity = port[first] - column[first];
    low += (low ^ parity) & 1, high -= (high ^ parity) & 1;
    if (size_t(high - low) > 4 * (end - first) + 64) return list(first, end);
    size_t many = size_t(high - low) / 2 + 1;
    Diagonal *q = diagonals.extend(many + 1);
    if (!q) return false;
    for (size_t i = 0; i <= many; i++) q[i] = Diagonal{1 << 30, -1, 0};
    for (size_t k = first; k < end; k++) {  // ports grow along a chain
      int d = port[k] - column[k];
      mixed |= d ^ parity;
      Diagonal *e = q + (unsigned(high + 1 - d) >> 1);
      e->low = e->high < 0 ? port[k] : e->low;
      e->high = port[k];
    }
    size_t total = 0;
    for (size_t i = 0; i < many; i++)
      if (q[i].low <= q[i].high) q[i].at = slots.size + total, total += q[i].high - q[i].low + 1;
    diagonals.size--;
    if ((mixed & 1) || total > 3 * (end - first) + 64) {
      diagonals.size -= many;
      return list(first, end);
    }
    g->diagonals = many, g->lowest = low;
    current = q, current_high = high + 1;
    Cell *to = slots.extend(total);
    uint8_t *kind = bars.extend(total);
    if (!to || !kind) return false;
    if (total > end - first)
      for (size_t i = 0; i < total; i++) to[i] = idle, kind[i] = 1;
    return true;
  }
  // A mesh without such an order: one cell after the other, slots in the order of the mesh.
  bool list(size_t first, size_t end) {
    Diagonal *e = diagonals.extend(1);
    if (!e) return false;
    *e = Diagonal{0, 0, slots.size};
    current = nullptr, current_base = slots.size - first;
    return slots.extend(end - first) && bars.extend(end - first);
  }
  INLINE size_t slot(size_t k) const {
    if (!current) return current_base + k;
    const Diagonal *e = current + (unsigned(current_high - mesh.port[k] + mesh.column[k]) >> 1);
    return e->at + size_t(mesh.port[k] - e->low);
  }
  INLINE void set(size_t k, const Cell &cell, bool bar) {
    size_t at = slot(k);
    slots.data[at] = cell, bars.data[at] = bar;
    if (where) where[k] = at;
  }
  void clear() { segments.size = diagonals.size = slots.size = bars.size = scales.size = 0; }
  const Diagonal *current = nullptr;
  int current_high = 0;
  size_t current_base = 0;
};

struct Angles {
  Block memory;
  double *s, *c, *er, *ei;
  explicit Angles(const Mesh &m) : memory(4 * (m.count + 1) * sizeof(double)) {
    s = memory.doubles();
    if (!s) return;
    c = s + m.count, er = c + m.count, ei = er + m.count;
    sincos(m.count, m.theta, 0.5, s, c);
    sincos(m.count, m.phi, 1.0, ei, er);
  }
};

// The angles of a few hundred MZIs, in the cache.
struct AngleBlock {
  static constexpr size_t SIZE = 256;
  const Mesh &m;
  size_t first = 0, end = 0;
  alignas(64) double s[SIZE], c[SIZE], er[SIZE], ei[SIZE];
  INLINE size_t find(size_t k, bool backwards) {
    if (k < first || k >= end) {
      first = !backwards ? k : k + 1 > SIZE ? k + 1 - SIZE : 0;
      end = first + SIZE < m.count ? first + SIZE : m.count;
      sincos(end - first, m.theta + first, 0.5, s, c);
      sincos(end - first, m.phi + first, 1.0, ei, er);
    }
    return k - first;
  }
};

// Walks over the MZIs (backwards from the last one) with the scales d of the modes:
// set(k, cell, bar, weight_theta, weight_phi) for every MZI, then close(first, end) for every
// segment.
template <class Set, class Close>
static INLINE void scale(const Mesh &m, bool backwards, double *d, Set set, Close close) {
  for (int p = 0; p < m.ports; p++) d[p] = 1.0;
  size_t begin = 0;
  int columns = 0, last = -1;
  AngleBlock a{m};
  auto end_segment = [&](size_t done) {
    if (backwards) close(m.count - done, m.count - begin);
    else close(begin, done);
    begin = done;
    for (int p = 0; p < m.ports; p++) d[p] = 1.0;
  };
  for (size_t done = 0; done < m.count; done++) {
    size_t k = backwards ? m.count - 1 - done : done;
    if (m.column[k] != last) {
      last = m.column[k];
      if (++columns % 32 == 0) {
        double least = 1.0;
        for (int p = 0; p < m.ports; p++) least = std::fabs(d[p]) < least ? std::fabs(d[p]) : least;
        if (least < 1e-60) end_segment(done);
      }
    }
    const size_t at = a.find(k, backwards);
    double *e = d + m.port[k], d1 = e[0], d2 = e[1], d12 = d1 * d2;
    const double s = a.s[at], c = a.c[at];
    if (__builtin_expect(std::fabs(c) >= CUT, 1)) {
      double r = s / (c * d12);
      e[0] = c * d2, e[1] = c * d1;
      set(k, Scaled{a.er[at], a.ei[at], r * d1 * d1, r * d2 * d2}, false, 0.5 * d12, e[0] * e[0]);
    } else {
      double r = c / (s * d12);
      e[0] = s * d1, e[1] = -s * d2;
      set(k, Scaled{a.er[at], a.ei[at], r * d2 * d2, r * d1 * d1}, true, 0.5 * d12, e[0] * e[0]);
    }
  }
  end_segment(m.count);
}

template <class Cell> static void keep_scales(Plan<Cell> &plan, const double *d) {
  double *to = plan.scales.extend(plan.mesh.ports);
  if (to) std::memcpy(to, d, plan.mesh.ports * sizeof(double));
}

// Cells of the mesh or, backwards, of its adjoint; then also the weights of the gradients of
// theta and phi, MZI after MZI.
template <bool BACK> static void cells_of(Plan<Scaled> &plan, double *weights) {
  const Mesh &m = plan.mesh;
  const Scaled idle = {1.0, 0.0, 0.0, 0.0};
  Block scale_memory(size_t(m.ports) * sizeof(double));
  double *d = scale_memory.doubles();
  if (!d || !plan.arrange(0, m.count, idle)) {
    plan.failed = true;
    return;
  }
  auto weigh = [=](size_t k, double theta, double phi) {
    if (BACK) weights[2 * k] = theta, weights[2 * k + 1] = phi;
  };
  // Almost every mesh is one segment: its cells go where they belong at once.
  bool whole = true;
  scale(
      m, BACK, d,
      [&](size_t k, const Scaled &cell, bool bar, double theta, double phi) {
        plan.set(k, cell, bar);
        weigh(k, theta, phi);
      },
      [&](size_t first, size_t end) {
        whole = whole && end - first == m.count;
        if (whole) keep_scales(plan, d);
      });
  if (whole) return;
  plan.clear();
  Block memory((m.count + 1) * (sizeof(Scaled) + 1));
  Scaled *cells = static_cast<Scaled *>(memory.base);
  if (!cells) {
    plan.failed = true;
    return;
  }
  uint8_t *bars = reinterpret_cast<uint8_t *>(cells + m.count);
  scale(
      m, BACK, d,
      [&](size_t k, const Scaled &cell, bool bar, double theta, double phi) {
        cells[k] = cell, bars[k] = bar;
        weigh(k, theta, phi);
      },
      [&](size_t first, size_t end) {
        if (!plan.arrange(first, end, idle)) plan.failed = true;
        else
          for (size_t k = first; k < end; k++) plan.set(k, cells[k], bars[k]);
        keep_scales(plan, d);
      });
}

static inline void scale_cells(Plan<Scaled> &plan) { cells_of<false>(plan, nullptr); }
static inline void adjoint_cells(Plan<Scaled> &plan, double *weights) {
  cells_of<true>(plan, weights);
}

static inline void general_cells(Plan<General> &plan, const double *cells) {
  const General *all = reinterpret_cast<const General *>(cells);
  if (!plan.arrange(0, plan.mesh.count, General{{1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0}}))
    plan.failed = true;
  else
    for (size_t k = 0; k < plan.mesh.count; k++) plan.set(k, all[k], false);
}

}  // namespace KERNEL_ARCH
