// Copies of a mesh with everything that is wrong with them, from numbers that belong to devices,
// and light through them: the fused form of onnx2mzi.emulate.imperfect_mesh, which is the oracle.
//
// Lanes are copies. So what a device is (a crossing, a heater or none) is a plain branch, nothing
// is drawn that a device does not have, and narrow columns cost no more than wide ones.
#pragma once
#include "normal.hpp"

namespace KERNEL_ARCH {

// What the table holds of an MZI: ROWS numbers, one MZI after the other.
enum Row {
  HALF, PHI, ARM, IN_UP, IN_LOW, ARM_MM, IN_UP_MM, IN_LOW_MM, X_MM, SPAN_MM, Y_UP_MM, Y_LOW_MM,
  T_SET, T_UP, T_LOW, P_SET, P_UP, P_LOW, ARM_UP_HEAT, ARM_LOW_HEAT, IN_UP_HEAT, IN_LOW_HEAT,
  LOSS_DB, T_FIX_UP, T_FIX_LOW, P_FIX_UP, P_FIX_LOW, BARE, T_ACTIVE, P_ACTIVE, ROWS
};
// Sizes of imperfections.
enum Size {
  S_PHASE, S_GAMMA, S_SPLIT, S_LOSS, S_DEAD, S_STUCK, S_FULL, S_LEAK, S_FABRICATION, S_TRIM,
  S_THERMAL, S_LOSS_SCALE, SIZES
};
// What all devices of a chip have in common; one number a copy each.
enum Common { SHARED, PHASE_X, PHASE_Y, SPLIT_X, SPLIT_Y, COMMONS };
enum Stream { PHASE, SPLIT, GAMMA, ARMS, INPUTS, LOSS, FATE, STUCK };

struct Devices {
  int ports;
  size_t count;
  const int32_t *column, *port;
  const double *out, *table;
  const uint64_t *device;
  const double *made;  // what theta, then phi heaters are driven to make; nullptr: their setting
};

// Light for the copies: x (copies, ports, batch), nullptr for the unit matrix; factors
// (copies, ports) behind the last column; y (copies, ports, batch).
struct Light {
  const double *x;
  size_t batch;
  const double *factors;
  double *y;
};

struct Chips {
  vu key;
  vn common[COMMONS];
};

// What a heater makes beyond its setting.
static INLINE vn heater_change(const double *size, double made, double set, vn rate, vn noise,
                               vn fate, vn place) {
  vn now = made * (1.0 + size[S_GAMMA] * rate) + size[S_PHASE] * noise;
  if (size[S_DEAD] + size[S_STUCK] > 0.0) {
    now = pick(fate < size[S_DEAD] + size[S_STUCK], size[S_FULL] * place, now);
    now = pick(fate < size[S_DEAD], vn{}, now);
  }
  return now - set;
}

static INLINE vn wrapped(vn x) {
  const vn turns = (x * 0.15915494309189533577 + 6755399441055744.0) - 6755399441055744.0;
  return (x - turns * 6.28318530717958623200) - turns * 2.44929359829470635445e-16;
}

// What heaters add against static errors: each makes up for the difference that arrives at it.
struct Trim {
  vn t, p;
};
// `up`, `low` are the phases on the guides before the MZI, then behind it, p and q their powers.
static INLINE Trim trimmed(const double *r, double hs, double hc, vn au, vn al, vn iu, vn il,
                           vn &up, vn &low, double &p, double &q) {
  up = up + iu, low = low + il;
  const vn off = up - low;
  const vn gu = r[P_FIX_UP] * off, gl = r[P_FIX_LOW] * off;
  Trim fix{vn{}, (gu * r[P_UP] + gl * r[P_LOW]) / (r[P_UP] * r[P_UP] + r[P_LOW] * r[P_LOW])};
  if (r[BARE] > 0.5 && hs == 0.0) {  // a crossing: what comes in above goes out below
    const vn above = q > 0.0 ? wrapped(low + gl) : vn{}, below = p > 0.0 ? wrapped(up + gu) : vn{};
    const double upper = p;
    up = above, low = below, p = q, q = upper;
    return fix;
  }
  // Both heaters there: nothing is left of a difference, and light of one phase keeps it.
  if (r[P_FIX_LOW] - r[P_FIX_UP] == 1.0 && r[T_FIX_LOW] - r[T_FIX_UP] == 1.0) {
    const double stays = hs * hs, swaps = hc * hc, upper = p;
    const vn phase = wrapped(up + gu), common = 0.5 * (au + al) +
        0.5 * (r[T_FIX_UP] + r[T_FIX_LOW]) * (au - al);
    fix.t = (r[T_FIX_UP] * r[T_UP] + r[T_FIX_LOW] * r[T_LOW]) /
            (r[T_UP] * r[T_UP] + r[T_LOW] * r[T_LOW]) * (au - al);
    up = stays * p + swaps * q > 0.0 ? common + phase : common;
    low = swaps * p + stays * q > 0.0 ? common + phase : common;
    p = stays * upper + (1.0 - stays) * q, q = (1.0 - stays) * upper + stays * q;
    return fix;
  }
  const vn fu = r[T_FIX_UP] * (au - al), fl = r[T_FIX_LOW] * (au - al);
  fix.t = (fu * r[T_UP] + fl * r[T_LOW]) / (r[T_UP] * r[T_UP] + r[T_LOW] * r[T_LOW]);
  const vn mu = au + fu, ml = al + fl;
  vn common = vn{}, s2 = vn{} + hs, c2 = vn{} + hc, us, uc, ls, lc;
  if (r[BARE] <= 0.5) {
    common = 0.5 * (mu + ml);
    sincos_part(r[HALF] + 0.5 * (mu - ml), s2, c2);
  }
  const vn stay = hs * s2, swap = hc * c2;
  sincos_part(up + gu, us, uc);
  sincos_part(low + gl, ls, lc);
  us = us * p, uc = uc * p, ls = ls * q, lc = lc * q;
  up = atan2_part(stay * us + swap * ls, stay * uc + swap * lc) + common;
  low = atan2_part(swap * us + stay * ls, swap * uc + stay * lc) + common;
  const double stays = hs * hs, upper = p;
  p = stays * upper + (1.0 - stays) * q, q = (1.0 - stays) * upper + stays * q;
  return fix;
}

// Phases on arms and inputs beyond the ideal ones.
struct Errors {
  vn au, al, iu, il;
};
// Re and im of the cell's entries, row by row.
static INLINE void cell_of(const double *r, const double *size, const Chips &chip,
                           const vn *split, const Errors &e, vn amplitude, vn *to) {
  const vn phase[4] = {r[PHI] + e.iu, e.il, r[HALF] + e.au, e.al - r[HALF]};
  vn s[4], c[4];
  if (r[BARE] > 0.5) {
    const double leak = size[S_LEAK], through = std::sqrt(1.0 - leak * leak);
    sincoses<2>(phase, s, c);
    for (int j = 0; j < 2; j++) s[j] = s[j] * amplitude, c[j] = c[j] * amplitude;
    to[0] = -leak * s[0], to[1] = leak * c[0], to[2] = through * c[1], to[3] = through * s[1];
    to[4] = through * c[0], to[5] = through * s[0], to[6] = -leak * s[1], to[7] = leak * c[1];
    return;
  }
  sincoses<4>(phase, s, c);
  const vn across = 0.5 * (r[Y_UP_MM] + r[Y_LOW_MM]) * chip.common[SPLIT_Y] + chip.common[SHARED];
  const vn along = r[X_MM] * chip.common[SPLIT_X], apart = r[SPAN_MM] * chip.common[SPLIT_X];
  // Sum and difference of the couplers' errors, for products of cos and sin of pi/4 + error.
  vn both[2] = {2.0 * (across + along), -apart}, bs[2], bc[2];
  if (size[S_SPLIT] > 0.0) {
    both[0] = both[0] + size[S_SPLIT] * (split[0] + split[1]);
    both[1] = both[1] + size[S_SPLIT] * (split[0] - split[1]);
  }
  sincoses_small<2>(both, bs, bc);
  const vn cc = 0.5 * (bc[1] - bs[0]), ss = 0.5 * (bc[1] + bs[0]);
  const vn cs = 0.5 * (bc[0] + bs[1]), sc = 0.5 * (bc[0] - bs[1]);
  const vn us = s[0] * amplitude, uc = c[0] * amplitude, ls = s[1] * amplitude,
           lc = c[1] * amplitude, xs = s[2], xc = c[2], ys = s[3], yc = c[3];
  const vn ar = cc * xs - ss * ys, ai = ss * yc - cc * xc;  // -i (cc lit - ss dark)
  const vn br = cs * xc + sc * yc, bi = cs * xs + sc * ys;  // cs lit + sc dark
  const vn cr = sc * xc + cs * yc, ci = sc * xs + cs * ys;  // sc lit + cs dark
  const vn er = cc * ys - ss * xs, ei = ss * xc - cc * yc;  // -i (cc dark - ss lit)
  to[0] = ar * uc - ai * us, to[1] = ar * us + ai * uc;
  to[2] = br * lc - bi * ls, to[3] = br * ls + bi * lc;
  to[4] = cr * uc - ci * us, to[5] = cr * us + ci * uc;
  to[6] = er * lc - ei * ls, to[7] = er * ls + ei * lc;
}

// What up to W copies are drawn from and to. `gathered` (ports, W) are the static phases on the
// guides, `power` (ports) the powers of the light that enters, then of what leaves; `t_change`,
// `p_change` (copies, count) are given if `set`, else told if they are there. The cell of MZI k of
// copy l goes to to[l][where[k]].
struct Draw {
  const Devices &d;
  const double *size, *hs, *hc, *amplitude;
  bool set;
  size_t copies;
  Chips chips[PARTS];
  double *gathered, *power, *t_change, *p_change;
  const size_t *where;
  General *to[W];

  INLINE vn change(const double *all, size_t k, int part) const {
    vn v = vn{};
    for (size_t l = part * NATIVE, j = 0; j < NATIVE && l < copies; j++, l++)
      v[j] = all[l * d.count + k];
    return v;
  }
  INLINE void tell(double *all, size_t k, int part, vn v) const {
    for (size_t l = part * NATIVE, j = 0; j < NATIVE && l < copies; j++, l++)
      all[l * d.count + k] = v[j];
  }
};

static INLINE Errors static_of(const double *r, double scale, const Chips &chip,
                               const vn (*normal)[2]) {
  const vn along = r[X_MM] * chip.common[PHASE_X];
  const vn up = along + r[Y_UP_MM] * chip.common[PHASE_Y];
  const vn low = along + r[Y_LOW_MM] * chip.common[PHASE_Y];
  Errors e{up * r[ARM_MM], low * r[ARM_MM], up * r[IN_UP_MM], low * r[IN_LOW_MM]};
  if (scale == 0.0) return e;
  if (r[BARE] <= 0.5) {
    e.au = e.au + scale * r[ARM] * normal[ARMS][0];
    e.al = e.al + scale * r[ARM] * normal[ARMS][1];
  }
  e.iu = e.iu + scale * r[IN_UP] * normal[INPUTS][0];
  e.il = e.il + scale * r[IN_LOW] * normal[INPUTS][1];
  return e;
}

static INLINE void add_heaters(Trim &fix, const double *r, const double *size, const Chips &chip,
                               uint64_t device, double t_made, double p_made,
                               const vn (*normal)[2]) {
  vn fate[2] = {vn{}, vn{}}, place[2] = {vn{}, vn{}};
  if (size[S_DEAD] + size[S_STUCK] > 0.0) {
    flats(chip.key, device, FATE, fate);
    flats(chip.key, device, STUCK, place);
  }
  const vn *rate = normal[GAMMA], *noise = normal[PHASE];
  if (r[T_ACTIVE] > 0.5)
    fix.t = fix.t + heater_change(size, t_made, r[T_SET], rate[0], noise[0], fate[0], place[0]);
  if (r[P_ACTIVE] > 0.5)
    fix.p = fix.p + heater_change(size, p_made, r[P_SET], rate[1], noise[1], fate[1], place[1]);
}

static void draw_copies(const Draw &w) {
  const Devices &d = w.d;
  const double *size = w.size;
  const bool trim = size[S_TRIM] > 0.0 && !w.set;
  for (size_t k = 0; k < d.count; k++) {
    const double *r = d.table + k * ROWS;
    const uint64_t device = first_of(d.device[k]);
    double *upper = w.gathered + size_t(d.port[k]) * W, p = 0.0, q = 0.0;
    const bool heated = r[T_ACTIVE] + r[P_ACTIVE] > 0.0, bare = r[BARE] > 0.5;
    // What the device has and the copies vary in.
    int streams[6], count = 0;
    if (size[S_FABRICATION] > 0.0) streams[count++] = INPUTS;
    if (size[S_FABRICATION] > 0.0 && !bare) streams[count++] = ARMS;
    if (size[S_GAMMA] > 0.0 && heated) streams[count++] = GAMMA;
    if (size[S_PHASE] > 0.0 && heated) streams[count++] = PHASE;
    if (size[S_SPLIT] > 0.0 && !bare) streams[count++] = SPLIT;
    if (size[S_LOSS] > 0.0) streams[count++] = LOSS;
    V rows[8];
    for (int part = 0; part < PARTS; part++) {
      const Chips &chip = w.chips[part];
      vn normal[6][2];
      for (int which = 0; which < 6; which++) normal[which][0] = normal[which][1] = vn{};
      normals_of(chip.key, device, count, streams, normal);
      Errors e = static_of(r, size[S_FABRICATION], chip, normal);
      Trim fix{vn{}, vn{}};
      if (w.set) {
        fix = Trim{w.change(w.t_change, k, part), w.change(w.p_change, k, part)};
      } else if (trim) {
        vn up, low;
        std::memcpy(&up, upper + part * NATIVE, sizeof up);
        std::memcpy(&low, upper + W + part * NATIVE, sizeof low);
        p = w.power[d.port[k]], q = w.power[d.port[k] + 1];
        fix = trimmed(r, w.hs[k], w.hc[k], e.au, e.al, e.iu, e.il, up, low, p, q);
        std::memcpy(upper + part * NATIVE, &up, sizeof up);
        std::memcpy(upper + W + part * NATIVE, &low, sizeof low);
      }
      if (!w.set && w.t_change)
        w.tell(w.t_change, k, part, fix.t), w.tell(w.p_change, k, part, fix.p);
      if (heated)
        add_heaters(fix, r, size, chip, device, d.made ? d.made[k] : r[T_SET],
                    d.made ? d.made[d.count + k] : r[P_SET], normal);
      e.au = e.au + r[T_UP] * fix.t + size[S_THERMAL] * r[ARM_UP_HEAT];
      e.al = e.al + r[T_LOW] * fix.t + size[S_THERMAL] * r[ARM_LOW_HEAT];
      e.iu = e.iu + r[P_UP] * fix.p + size[S_THERMAL] * r[IN_UP_HEAT];
      e.il = e.il + r[P_LOW] * fix.p + size[S_THERMAL] * r[IN_LOW_HEAT];
      vn amplitude = vn{} + w.amplitude[k];
      if (size[S_LOSS] > 0.0) {
        vn loss = size[S_LOSS_SCALE] * r[LOSS_DB] + size[S_LOSS] * normal[LOSS][0];
        loss = pick(loss < 0.0, vn{}, loss);
        amplitude = exponential(-0.11512925464970228420 * loss);
      }
      vn cell[8];
      cell_of(r, size, chip, normal[SPLIT], e, amplitude, cell);
      for (int j = 0; j < 8; j++) rows[j].p[part] = cell[j];
    }
    if (trim) w.power[d.port[k]] = p, w.power[d.port[k] + 1] = q;
    transpose(rows);
    for (size_t l = 0; l < w.copies; l++) std::memcpy(w.to[l] + w.where[k], rows + l, sizeof(V));
  }
}

// All copies: keys (copies), common (COMMONS, copies), gathered (copies, ports), power (ports).
// Cells go to `cells` (copies, count, 2, 2), or light through them if there is any.
static inline bool device_copies(const Devices &d, size_t copies, const double *size,
                                 const uint64_t *keys, const double *common, bool set,
                                 double *gathered, double *power, double *t_change,
                                 double *p_change, double *cells, const Light *light) {
  const size_t n = d.count, ports = size_t(d.ports), most = copies < size_t(W) ? copies : W;
  Block numbers((4 * n + (W + 3) * ports + 4) * sizeof(double)), places((n + 1) * sizeof(size_t));
  if (!numbers.base || !places.base) return false;
  double *half = numbers.doubles(), *hs = half + n, *hc = hs + n, *amplitude = hc + n;
  double *state = amplitude + n, *now = state + W * ports, *out = now + ports;
  size_t *where = static_cast<size_t *>(places.base);
  for (size_t k = 0; k < n; k++) half[k] = d.table[k * ROWS + HALF], where[k] = k;
  sincos(n, half, 1.0, hs, hc);
  for (size_t k = 0; k < n; k++) {
    const double loss = size[S_LOSS_SCALE] * d.table[k * ROWS + LOSS_DB];
    amplitude[k] = loss > 0.0 ? std::exp(-0.11512925464970228420 * loss) : 1.0;
  }
  Plan<General> plan(Mesh{d.ports, n, d.column, d.port, nullptr, nullptr, d.out});
  if (light && plan.ok()) {
    Block nothing((n + 1) * sizeof(General), true);
    if (!nothing.base) return false;
    plan.where = where;
    general_cells(plan, nothing.doubles());
  }
  if (!plan.ok()) return false;
  General *const slots = plan.slots.data;
  const size_t room = plan.slots.size;
  Block memory((light ? most * room + 1 : 1) * sizeof(General));
  if (!memory.base) return false;
  General *const drawn = static_cast<General *>(memory.base);
  for (size_t l = 0; l < most && light; l++)
    std::memcpy(static_cast<void *>(drawn + l * room), slots, room * sizeof(General));
  std::memcpy(out, plan.factors, 2 * ports * sizeof(double));
  std::memcpy(now, power, ports * sizeof(double));
  bool ok = true;
  for (size_t c = 0; c < copies && ok; c += W) {
    const size_t width = copies - c < size_t(W) ? copies - c : size_t(W);
    Draw w{d, size, hs, hc, amplitude, set, width, {}, state, now,
           t_change ? t_change + c * n : nullptr, p_change ? p_change + c * n : nullptr, where, {}};
    for (size_t l = 0; l < size_t(W); l++) {  // idle lanes repeat the last copy
      const size_t copy = c + (l < width ? l : width - 1);
      Chips &chip = w.chips[l / NATIVE];
      chip.key[l % NATIVE] = keys[copy];
      for (int j = 0; j < COMMONS; j++)
        chip.common[j][l % NATIVE] = common[size_t(j) * copies + copy];
      for (size_t p = 0; p < ports; p++) state[p * W + l] = gathered[copy * ports + p];
      w.to[l] = light ? drawn + (copy - c) * room : reinterpret_cast<General *>(cells) + copy * n;
    }
    std::memcpy(now, power, ports * sizeof(double));
    draw_copies(w);
    for (size_t l = 0; l < width; l++)
      for (size_t p = 0; p < ports; p++) gathered[(c + l) * ports + p] = state[p * W + l];
    for (size_t l = 0; l < width && light && ok; l++) {
      const double *f = light->factors + 2 * (c + l) * ports;
      for (size_t p = 0; p < ports; p++) {
        plan.factors[p] = out[p] * f[2 * p] - out[ports + p] * f[2 * p + 1];
        plan.factors[ports + p] = out[p] * f[2 * p + 1] + out[ports + p] * f[2 * p];
      }
      const size_t at = 2 * (c + l) * ports * light->batch;
      plan.slots.data = w.to[l];
      ok = propagate<true>(plan, light->x ? light->x + at : nullptr, light->batch, light->y + at);
      plan.slots.data = slots;
    }
  }
  std::memcpy(power, now, ports * sizeof(double));
  return ok;
}

}  // namespace KERNEL_ARCH
