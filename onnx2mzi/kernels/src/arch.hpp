// Included by every arch_*.cpp after KERNEL_ARCH and KERNEL_TABLE are named.
#include "adjoint.hpp"
#include "back.hpp"
#include "device.hpp"
#include "rows.hpp"
#include "sample.hpp"
#include "table.hpp"

namespace KERNEL_ARCH {

static double run_clements(int cx, int n, const double *u, double *theta, double *phi, double *out) {
  return cx ? clements<true>(n, u, theta, phi, out) : clements<false>(n, u, theta, phi, out);
}
static double run_isometry(int cx, int r, int n, const double *a, size_t stride_row,
                           size_t stride_port, int transposed, double *theta, double *phi,
                           double *out) {
  auto f = cx ? isometry<true> : isometry<false>;
  return f(r, n, a, stride_row, stride_port, transposed != 0, theta, phi, out);
}
static int run_forward(int cx, int ports, size_t count, const int32_t *column, const int32_t *port,
                       const double *theta, const double *phi, const double *out, const double *x,
                       size_t batch, double *y) {
  Mesh m{ports, count, column, port, theta, phi, out};
  return cx ? forward<true>(m, x, batch, y) : forward<false>(m, x, batch, y);
}
static int run_cells(int ports, size_t count, const int32_t *column, const int32_t *port,
                     const double *out, const double *cells, const double *x, size_t batch,
                     double *y) {
  Plan<General> plan(Mesh{ports, count, column, port, nullptr, nullptr, out});
  if (!plan.ok()) return 0;
  general_cells(plan, cells);
  return propagate<true>(plan, x, batch, y);
}
static int run_vjp(int ports, size_t count, const int32_t *column, const int32_t *port,
                   const double *theta, const double *phi, const double *out, const double *y,
                   const double *g, size_t batch, double *grad_theta, double *grad_phi,
                   double *grad_out, double *grad_x) {
  Mesh m{ports, count, column, port, theta, phi, out};
  return vjp(m, y, g, batch, grad_theta, grad_phi, grad_out, grad_x);
}
static int run_taps(int ports, size_t count, const int32_t *column, const int32_t *port,
                    const double *theta, const double *phi, const double *out, const double *x,
                    size_t batch, int transposed, double *to) {
  return taps(Mesh{ports, count, column, port, theta, phi, out}, x, batch, transposed != 0, to);
}
static int run_cells_vjp(int ports, size_t count, const int32_t *column, const int32_t *port,
                         const double *out, const double *cells, const double *x, const double *g,
                         size_t batch, double *grad_cells, double *grad_x) {
  Mesh m{ports, count, column, port, nullptr, nullptr, out};
  return cells_vjp(m, cells, x, g, batch, grad_cells, grad_x);
}
static int run_copies(int ports, size_t count, const int32_t *column, const int32_t *port,
                      const double *out, const double *table, const uint64_t *device,
                      const double *made, size_t copies, const double *sizes,
                      const uint64_t *keys, const double *common, int set, double *gathered,
                      double *power, double *theta, double *phi, double *cells, const double *x,
                      size_t batch, const double *factors, double *y) {
  Devices d{ports, count, column, port, out, table, device, made};
  Light light{x, batch, factors, y};
  return device_copies(d, copies, sizes, keys, common, set != 0, gathered, power, theta, phi,
                       cells, y ? &light : nullptr);
}
static int run_imperfect(int ports, size_t count, const int32_t *column, const int32_t *port,
                         const double *theta, const double *phi, const double *out,
                         const double *x, size_t batch, const double *s, uint64_t seed,
                         uint64_t first, size_t copies, double *y) {
  Mesh m{ports, count, column, port, theta, phi, out};
  return imperfect(m, x, batch, Sigmas{s[0], s[1], s[2], s[3], s[4]}, seed, first, copies, y);
}

static void run_device_normals(size_t copies, const uint64_t *keys, size_t count,
                               const uint64_t *device, int stream, double *to) {
  device_normals(copies, keys, count, device, stream, to);
}
static void run_normals(uint64_t key, uint64_t first, size_t count, double *to) {
  many_normals(key, first, count, to);
}

static const Kernels TABLE = {run_clements, run_isometry, run_forward, run_cells,
                              run_vjp,      run_taps,     run_cells_vjp, run_copies, run_imperfect,
                              run_normals,  run_device_normals};

}  // namespace KERNEL_ARCH

const Kernels *KERNEL_TABLE() { return &KERNEL_ARCH::TABLE; }
