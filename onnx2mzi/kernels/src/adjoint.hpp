// Gradients of any 2 x 2 cells of a mesh: forward with all fields kept, panel by panel, then back.
#pragma once
#include "wave.hpp"

namespace KERNEL_ARCH {

// Lanes of a panel: its fields stay in the cache up to some thousand MZIs.
constexpr int LANES = 2 * W;

struct Panel {
  double r[LANES], i[LANES];
};

static INLINE void panel_in(const double *q, int w, Panel &to) {
  for (int l = 0; l < LANES; l++) {
    to.r[l] = l < w ? q[2 * l] : 0.0;
    to.i[l] = l < w ? q[2 * l + 1] : 0.0;
  }
}

// Grows `grad` (count, 2, 2), dL/dRe m + i dL/dIm m, and writes `grad_x`; x, g (ports, batch).
static inline bool cells_vjp(const Mesh &mesh, const double *cells, const double *x,
                             const double *g, size_t batch, double *grad, double *grad_x) {
  const size_t ports = size_t(mesh.ports);
  Block kept((2 * mesh.count + 1) * sizeof(Panel)), state(2 * ports * sizeof(Panel));
  if (!kept.base || !state.base) return false;
  Panel *fields = static_cast<Panel *>(kept.base);
  Panel *now = static_cast<Panel *>(state.base), *back = now + ports;
  std::memset(grad, 0, mesh.count * 8 * sizeof(double));
  for (size_t b = 0; b < batch; b += LANES) {
    const int w = batch - b < size_t(LANES) ? int(batch - b) : LANES;
    for (size_t p = 0; p < ports; p++) {
      panel_in(x + 2 * (p * batch + b), w, now[p]);
      panel_in(g + 2 * (p * batch + b), w, back[p]);
      const double c = std::cos(mesh.out[p]), s = std::sin(mesh.out[p]);
      for (int l = 0; l < LANES; l++) {  // e^{-i out} g
        const double re = back[p].r[l];
        back[p].r[l] = c * re + s * back[p].i[l];
        back[p].i[l] = c * back[p].i[l] - s * re;
      }
    }
    for (size_t k = 0; k < mesh.count; k++) {
      const double *m = cells + 8 * k;
      Panel &u = now[mesh.port[k]], &v = now[mesh.port[k] + 1];
      fields[2 * k] = u, fields[2 * k + 1] = v;
      for (int l = 0; l < LANES; l++) {
        const double ur = u.r[l], ui = u.i[l], vr = v.r[l], vi = v.i[l];
        u.r[l] = m[0] * ur - m[1] * ui + m[2] * vr - m[3] * vi;
        u.i[l] = m[0] * ui + m[1] * ur + m[2] * vi + m[3] * vr;
        v.r[l] = m[4] * ur - m[5] * ui + m[6] * vr - m[7] * vi;
        v.i[l] = m[4] * ui + m[5] * ur + m[6] * vi + m[7] * vr;
      }
    }
    for (size_t k = mesh.count; k-- > 0;) {
      const double *m = cells + 8 * k;
      Panel &u = back[mesh.port[k]], &v = back[mesh.port[k] + 1];
      const Panel &a = fields[2 * k], &c = fields[2 * k + 1];
      double sums[8][LANES];
      for (int l = 0; l < LANES; l++) {  // g conj(x)
        sums[0][l] = u.r[l] * a.r[l] + u.i[l] * a.i[l], sums[1][l] = u.i[l] * a.r[l] - u.r[l] * a.i[l];
        sums[2][l] = u.r[l] * c.r[l] + u.i[l] * c.i[l], sums[3][l] = u.i[l] * c.r[l] - u.r[l] * c.i[l];
        sums[4][l] = v.r[l] * a.r[l] + v.i[l] * a.i[l], sums[5][l] = v.i[l] * a.r[l] - v.r[l] * a.i[l];
        sums[6][l] = v.r[l] * c.r[l] + v.i[l] * c.i[l], sums[7][l] = v.i[l] * c.r[l] - v.r[l] * c.i[l];
      }
      for (int j = 0; j < 8; j++) {
        V total = zero();
        for (int l = 0; l < LANES; l += W) total = total + load(sums[j] + l);
        grad[8 * k + j] += sum(total);
      }
      for (int l = 0; l < LANES; l++) {  // the cell's conjugate transpose
        const double ur = u.r[l], ui = u.i[l], vr = v.r[l], vi = v.i[l];
        u.r[l] = m[0] * ur + m[1] * ui + m[4] * vr + m[5] * vi;
        u.i[l] = m[0] * ui - m[1] * ur + m[4] * vi - m[5] * vr;
        v.r[l] = m[2] * ur + m[3] * ui + m[6] * vr + m[7] * vi;
        v.i[l] = m[2] * ui - m[3] * ur + m[6] * vi - m[7] * vr;
      }
    }
    for (size_t p = 0; p < ports; p++)
      for (int l = 0; l < w; l++) {
        grad_x[2 * (p * batch + b + l)] = back[p].r[l];
        grad_x[2 * (p * batch + b + l) + 1] = back[p].i[l];
      }
  }
  return true;
}

}  // namespace KERNEL_ARCH
