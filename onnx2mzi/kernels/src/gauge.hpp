// Phases carried along the guides: between phases as drawn and the balanced gauge. Plain scalar
// code: it is bound by the chain of additions, not by arithmetic. The numpy code in gauge.py does
// the same operations in the same order. What depends on drives and arms comes in as numbers.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace gauge {

constexpr double pi = 3.14159265358979323846;

inline double wrapped(double x) {
  if (x > -pi && x <= pi) return x;
  double y = std::fmod(pi - x, 2 * pi);
  return pi - (y < 0 ? y + 2 * pi : y);
}

// What an MZI is to the light: crosses exchange it, others share it.
inline void spread(uint8_t *lit, int p, bool cross) {
  uint8_t above = lit[p], below = lit[p + 1];
  lit[p] = cross ? below : above | below;
  lit[p + 1] = cross ? above : above | below;
}

// Calls `mzi(k)` for every MZI, column by column, and lets every guide of `carried` pass.
template <class F>
void columns(int ports, size_t count, const int32_t *column, double passing, double *carried,
             F mzi) {
  int last = count ? column[count - 1] : -1;
  size_t k = 0;
  for (int c = 0; c <= last; c++) {
    for (; k < count && column[k] == c; k++) mzi(k);
    for (int p = 0; p < ports; p++) carried[p] += passing;
  }
}

inline void balance(int ports, size_t count, const int32_t *column, const int32_t *port,
                    const double *theta, const double *phi, const double *behind, double passing,
                    double *carried, uint8_t *lit, double *balanced_phi) {
  columns(ports, count, column, passing, carried, [&](size_t k) {
    int p = port[k];
    bool both = lit[p] && lit[p + 1];
    balanced_phi[k] = both ? phi[k] + carried[p] - carried[p + 1] : 0.0;
    double arrived = lit[p + 1] ? carried[p + 1] : carried[p] + phi[k];
    carried[p] = carried[p + 1] = arrived + behind[k];
    spread(lit, p, theta[k] == 0.0);
  });
}

// The rules of drawing a phi. `common` holds the common phase per radian of a phase: active and
// negative, active and positive, passive and negative, passive and positive.
struct Rules {
  const double *common;
  double passing, negligible;
  int turns, quarters;
  uint8_t removed, passive, active;
};

// `fixed` says whether a phi of the MZI may be passive whatever it is; `behind` holds what the
// MZI adds for its theta, and for the turned one. theta, state and phi are results.
inline void realise(int ports, size_t count, const int32_t *column, const int32_t *port,
                    const double *balanced_phi, const uint8_t *fixed, const double *behind,
                    const double *behind_turned, const Rules &r, double *carried, uint8_t *lit,
                    double *theta, double *phi, uint8_t *state) {
  columns(ports, count, column, r.passing, carried, [&](size_t k) {
    int p = port[k];
    double need = 0.0;
    if (lit[p] && lit[p + 1]) need = wrapped(balanced_phi[k] - carried[p] + carried[p + 1]);
    if (std::fabs(need) < r.negligible) need = 0.0;
    bool passive = fixed[k];
    if (!passive && r.quarters) {
      double q = need / (pi / 2);
      passive = std::fabs(q - std::nearbyint(q)) < 1e-9;
    }
    bool turned = need != 0.0 && !passive && r.turns && std::fabs(need) > pi / 2 && theta[k] != 0.0;
    state[k] = need == 0.0 ? r.removed : passive ? r.passive : r.active;
    if (turned) {
      need = wrapped(need + pi);
      theta[k] = -theta[k];
    }
    double common = need * r.common[(state[k] == r.passive ? 2 : 0) + (need > 0.0 ? 1 : 0)];
    double arrived = lit[p + 1] ? carried[p + 1] : carried[p] + need - balanced_phi[k];
    carried[p] = arrived + (common + (turned ? behind_turned[k] : behind[k]));
    carried[p + 1] = carried[p] + (turned ? pi : 0.0);
    spread(lit, p, theta[k] == 0.0);
    phi[k] = need;
  });
}

}  // namespace gauge
