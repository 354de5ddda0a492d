// The kernels of one instruction set. `complex` != 0: numbers come in pairs (re, im).
#pragma once
#include <cstddef>
#include <cstdint>

struct Kernels {
  // Both return the root mean square defect of the rows, < 0 when memory ran out.
  double (*clements)(int complex, int n, const double *u, double *theta, double *phi, double *out);
  double (*isometry)(int complex, int rows, int ports, const double *a, size_t stride_row,
                     size_t stride_port, int transposed, double *theta, double *phi, double *out);
  // The others return 0 when memory ran out.
  int (*forward)(int complex, int ports, size_t count, const int32_t *column, const int32_t *port,
                 const double *theta, const double *phi, const double *out, const double *x,
                 size_t batch, double *y);
  int (*cells)(int ports, size_t count, const int32_t *column, const int32_t *port,
               const double *out, const double *cells, const double *x, size_t batch, double *y);
  int (*vjp)(int ports, size_t count, const int32_t *column, const int32_t *port,
             const double *theta, const double *phi, const double *out, const double *y,
             const double *g, size_t batch, double *grad_theta, double *grad_phi, double *grad_out,
             double *grad_x);
  int (*taps)(int ports, size_t count, const int32_t *column, const int32_t *port,
              const double *theta, const double *phi, const double *out, const double *x,
              size_t batch, int transposed, double *taps);
  int (*cells_vjp)(int ports, size_t count, const int32_t *column, const int32_t *port,
                   const double *out, const double *cells, const double *x, const double *g,
                   size_t batch, double *grad_cells, double *grad_x);
  // Copies of devices: see device.hpp. Without y there is no light, with it there are no cells.
  int (*copies)(int ports, size_t count, const int32_t *column, const int32_t *port,
                const double *out, const double *table, const uint64_t *device,
                const double *made, size_t copies, const double *sizes, const uint64_t *keys,
                const double *common, int set, double *gathered, double *power, double *theta,
                double *phi, double *cells, const double *x, size_t batch, const double *factors,
                double *y);
  int (*imperfect)(int ports, size_t count, const int32_t *column, const int32_t *port,
                   const double *theta, const double *phi, const double *out, const double *x,
                   size_t batch, const double *sigmas, uint64_t seed, uint64_t first, size_t copies,
                   double *y);
  void (*normals)(uint64_t key, uint64_t first, size_t count, double *to);
  void (*device_normals)(size_t copies, const uint64_t *keys, size_t count, const uint64_t *device,
                         int stream, double *to);
};

const Kernels *kernels_baseline();
#if defined(__x86_64__)
const Kernels *kernels_avx2();
const Kernels *kernels_avx512();
#endif
