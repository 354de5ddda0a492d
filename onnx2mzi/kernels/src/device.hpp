// Copies of a mesh with everything that is wrong with them, from numbers that belong to devices:
// the fused form of onnx2mzi.kernels.copies, which is the oracle and says what all numbers mean.
#pragma once
#include "sample.hpp"

namespace KERNEL_ARCH {

// Rows of the table of numbers, K a row.
enum Row {
  HALF, PHI, ARM, IN_UP, IN_LOW, ARM_UP_SLOPE, ARM_LOW_SLOPE, IN_UP_SLOPE, IN_LOW_SLOPE,
  T_MADE, T_SET, T_UP, T_LOW, P_MADE, P_SET, P_UP, P_LOW, ARM_UP_HEAT, ARM_LOW_HEAT, IN_UP_HEAT,
  IN_LOW_HEAT, LOSS_DB, T_FIX_UP, T_FIX_LOW, P_FIX_UP, P_FIX_LOW, BARE, T_ACTIVE, P_ACTIVE, ROWS
};
// Sizes of imperfections, as numbers.
enum Size { S_PHASE, S_GAMMA, S_SPLIT, S_LOSS, S_DEAD, S_STUCK, S_FULL, S_LEAK, S_STATIC, S_TRIM,
            SIZES };
enum Stream { PHASE, SPLIT, GAMMA, ARMS, INPUTS, LOSS, FATE, STUCK };

struct Devices {
  int ports;
  size_t count;
  const int32_t *column, *port;
  const double *table;
  const uint64_t *device;
};

static INLINE vn device_uniform(vu key, vu device, int stream, int which) {
  return uniform(key, device * 32 + uint64_t(2 * stream + which + 1));
}
static INLINE void device_normals(vu key, vu device, int stream, vn &a, vn &b) {
  vn radius = root(-2.0 * logarithm(device_uniform(key, device, stream, 0)));
  vn angle = 2.0 * PI * (device_uniform(key, device, stream, 1) - 0.5), s, c;
  sincos_part(angle, s, c);
  // Half a turn off, which a sign brings back.
  a = -(radius * c), b = -(radius * s);
}

// What a heater makes beyond its setting.
static INLINE vn heater_change(const double *size, vn made, vn set, vn active, vn rate, vn noise,
                               vn fate, vn place) {
  made = made * (1.0 + size[S_GAMMA] * rate) + size[S_PHASE] * noise;
  if (size[S_DEAD] + size[S_STUCK] > 0.0) {
    made = pick(fate < size[S_DEAD] + size[S_STUCK], size[S_FULL] * place, made);
    made = pick(fate < size[S_DEAD], vn{}, made);
  }
  return active * (made - set);
}

// One copy. `gathered` and `power` (ports) are those of the light that enters, then of what leaves;
// `t_change`, `p_change` (count) are given where `set`, else written if they are there.
static void device_copy(const Devices &d, const double *size, uint64_t key, double shared,
                        double slope, bool set, double *gathered, double *power,
                        double *t_change, double *p_change, double *cells) {
  const vu keys = vu{} + key;
  const bool heaters = size[S_PHASE] + size[S_GAMMA] + size[S_DEAD] + size[S_STUCK] > 0.0;
  const bool fails = size[S_DEAD] + size[S_STUCK] > 0.0, trim = size[S_TRIM] > 0.0 && !set;
  for (size_t k = 0; k < d.count;) {
    int w = 1;
    while (w < NATIVE && k + w < d.count && d.column[k + w] == d.column[k]) w++;
    // Lanes beyond the column hold its neighbours, which nobody stores.
    const size_t there = d.count - k < size_t(NATIVE) ? d.count - k : size_t(NATIVE);
    vu device = vu{};
    std::memcpy(&device, d.device + k, there * sizeof(uint64_t));
    auto row = [&](int which) {
      vn v = vn{};
      const double *q = d.table + size_t(which) * d.count + k;
      if (there == size_t(NATIVE)) std::memcpy(&v, q, sizeof v);
      else std::memcpy(&v, q, there * sizeof(double));
      return v;
    };
    const vn half = row(HALF);
    vn au = slope * row(ARM_UP_SLOPE), al = slope * row(ARM_LOW_SLOPE);
    vn iu = slope * row(IN_UP_SLOPE), il = slope * row(IN_LOW_SLOPE);
    vn a, b;
    if (size[S_STATIC] > 0.0) {
      device_normals(keys, device, ARMS, a, b);
      const vn arm = row(ARM);
      au = au + arm * a, al = al + arm * b;
      device_normals(keys, device, INPUTS, a, b);
      iu = iu + row(IN_UP) * a, il = il + row(IN_LOW) * b;
    }
    vn hs, hc;
    sincos_part(half, hs, hc);
    const vi bare = row(BARE) > 0.5;
    vn t_fix = vn{}, p_fix = vn{};
    if (set) {
      for (int l = 0; l < w; l++) t_fix[l] = t_change[k + l], p_fix[l] = p_change[k + l];
    } else if (trim) {
      const vn tu = row(T_UP), tl = row(T_LOW), pu = row(P_UP), pl = row(P_LOW);
      const vn fu = row(T_FIX_UP) * (au - al), fl = row(T_FIX_LOW) * (au - al);
      t_fix = (fu * tu + fl * tl) / (tu * tu + tl * tl);
      vn up = vn{}, low = vn{}, p = vn{}, q = vn{};
      for (int l = 0; l < w; l++) {
        const int port = d.port[k + l];
        up[l] = gathered[port], low[l] = gathered[port + 1];
        p[l] = power[port], q[l] = power[port + 1];
      }
      up = up + iu, low = low + il;
      const vn gu = row(P_FIX_UP) * (up - low), gl = row(P_FIX_LOW) * (up - low);
      p_fix = (gu * pu + gl * pl) / (pu * pu + pl * pl);
      const vn mu = au + fu, ml = al + fl;
      const vn common = pick(bare, vn{}, 0.5 * (mu + ml));
      vn s2, c2, us, uc, ls, lc;
      sincos_part(half + pick(bare, vn{}, 0.5 * (mu - ml)), s2, c2);
      const vn stay = hs * s2, swap = hc * c2, stays = hs * hs;
      sincos_part(up + gu, us, uc);
      sincos_part(low + gl, ls, lc);
      us = us * p, uc = uc * p, ls = ls * q, lc = lc * q;
      const vn to_up = atan2_part(stay * us + swap * ls, stay * uc + swap * lc) + common;
      const vn to_low = atan2_part(swap * us + stay * ls, swap * uc + stay * lc) + common;
      const vn p_up = stays * p + (1.0 - stays) * q, p_low = (1.0 - stays) * p + stays * q;
      for (int l = 0; l < w; l++) {
        const int port = d.port[k + l];
        gathered[port] = to_up[l], gathered[port + 1] = to_low[l];
        power[port] = p_up[l], power[port + 1] = p_low[l];
      }
    }
    if (!set && t_change)
      for (int l = 0; l < w; l++) t_change[k + l] = t_fix[l], p_change[k + l] = p_fix[l];
    vn t = t_fix, p = p_fix;
    {
      vn rt = vn{}, rp = vn{}, nt = vn{}, np = vn{}, ft = vn{}, fp = vn{}, lt = vn{}, lp = vn{};
      if (heaters) {
        if (size[S_GAMMA] > 0.0) device_normals(keys, device, GAMMA, rt, rp);
        if (size[S_PHASE] > 0.0) device_normals(keys, device, PHASE, nt, np);
        if (fails) {
          ft = device_uniform(keys, device, FATE, 0), fp = device_uniform(keys, device, FATE, 1);
          lt = device_uniform(keys, device, STUCK, 0), lp = device_uniform(keys, device, STUCK, 1);
        }
      }
      t = t + heater_change(size, row(T_MADE), row(T_SET), row(T_ACTIVE), rt, nt, ft, lt);
      p = p + heater_change(size, row(P_MADE), row(P_SET), row(P_ACTIVE), rp, np, fp, lp);
    }
    au = au + row(T_UP) * t + row(ARM_UP_HEAT), al = al + row(T_LOW) * t + row(ARM_LOW_HEAT);
    iu = iu + row(P_UP) * p + row(IN_UP_HEAT), il = il + row(P_LOW) * p + row(IN_LOW_HEAT);
    vn first = vn{} + shared, second = first;
    if (size[S_SPLIT] > 0.0) {
      device_normals(keys, device, SPLIT, a, b);
      first = first + size[S_SPLIT] * a, second = second + size[S_SPLIT] * b;
    }
    vn loss = row(LOSS_DB);
    if (size[S_LOSS] > 0.0) {
      device_normals(keys, device, LOSS, a, b);
      loss = loss + size[S_LOSS] * a;
    }
    loss = pick(loss < 0.0, vn{}, loss);
    const vn amplitude = exponential(-0.11512925464970228420 * loss);
    vn us, uc, ls, lc, xs, xc, ys, yc, s1, c1, s2, c2;
    sincos_part(row(PHI) + iu, us, uc);
    sincos_part(il, ls, lc);
    us = us * amplitude, uc = uc * amplitude, ls = ls * amplitude, lc = lc * amplitude;
    sincos_part(half + au, xs, xc);
    sincos_part(al - half, ys, yc);
    sincos_part(0.25 * PI + first, s1, c1);
    sincos_part(0.25 * PI + second, s2, c2);
    const vn cc = c2 * c1, ss = s2 * s1, cs = c2 * s1, sc = s2 * c1;
    vn ar = cc * xs - ss * ys, ai = ss * yc - cc * xc;  // -i (cc lit - ss dark)
    vn br = cs * xc + sc * yc, bi = cs * xs + sc * ys;  // cs lit + sc dark
    vn cr = sc * xc + cs * yc, ci = sc * xs + cs * ys;  // sc lit + cs dark
    vn er = cc * ys - ss * xs, ei = ss * xc - cc * yc;  // -i (cc dark - ss lit)
    const vn none = vn{}, leak = none + size[S_LEAK];
    const vn through = none + std::sqrt(1.0 - size[S_LEAK] * size[S_LEAK]);
    ar = pick(bare, none, ar), ai = pick(bare, leak, ai);
    br = pick(bare, through, br), bi = pick(bare, none, bi);
    cr = pick(bare, through, cr), ci = pick(bare, none, ci);
    er = pick(bare, none, er), ei = pick(bare, leak, ei);
    const vn out[8] = {ar * uc - ai * us, ar * us + ai * uc, br * lc - bi * ls, br * ls + bi * lc,
                       cr * uc - ci * us, cr * us + ci * uc, er * lc - ei * ls, er * ls + ei * lc};
    for (int l = 0; l < w; l++)
      for (int j = 0; j < 8; j++) cells[8 * (k + l) + j] = out[j][l];
    k += size_t(w);
  }
}

static inline int device_copies(const Devices &d, size_t copies, const double *size,
                                const uint64_t *keys, const double *shared, const double *slope,
                                int set, double *gathered, double *power, double *t_change,
                                double *p_change, double *cells) {
  for (size_t c = 0; c < copies; c++) {
    double *t = t_change ? t_change + c * d.count : nullptr;
    double *p = p_change ? p_change + c * d.count : nullptr;
    device_copy(d, size, keys[c], shared[c], slope[c], set != 0, gathered + c * d.ports,
                power + c * d.ports, t, p, cells + 8 * c * d.count);
  }
  return 1;
}

}  // namespace KERNEL_ARCH
