// onnx2mzi.kernels._native: the kernels behind the limited API of CPython and its buffer protocol.
//
// Arguments are C-contiguous buffers whose sizes are checked here; what they mean was checked in
// Python. The interpreter's lock is released while a kernel runs.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>

#include "gauge.hpp"
#include "table.hpp"

namespace {

// The best table of this processor that is not above `limit` ("" for no limit).
const Kernels *best(const char *limit, const char **name) {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
  if (std::strcmp(limit, "baseline") == 0) avx2 = avx512 = false;
  if (std::strcmp(limit, "avx2") == 0) avx512 = false;
  if (avx512) return *name = "avx512", kernels_avx512();
  if (avx2) return *name = "avx2", kernels_avx2();
#endif
  return *name = "baseline", kernels_baseline();
}

const Kernels *table = nullptr;
const char *table_name = "";

// A buffer of exactly `count` items of `size` bytes; None gives nullptr where allowed.
struct View {
  Py_buffer buffer;
  bool held = false;
  bool open(PyObject *o, size_t bytes, bool writable) {
    int flags = PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(o, &buffer, flags) != 0) return false;
    held = true;
    if (size_t(buffer.len) == bytes) return true;
    PyErr_Format(PyExc_ValueError, "buffer of %zd bytes where %zu are needed", buffer.len, bytes);
    return false;
  }
  const double *in() const { return static_cast<const double *>(buffer.buf); }
  double *out() const { return static_cast<double *>(buffer.buf); }
  uint8_t *bytes() const { return static_cast<uint8_t *>(buffer.buf); }
  const int32_t *ints() const { return static_cast<const int32_t *>(buffer.buf); }
  ~View() {
    if (held) PyBuffer_Release(&buffer);
  }
};

constexpr size_t D = sizeof(double), Z = 2 * sizeof(double);

PyObject *done(int ok) {
  if (!ok) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

PyObject *py_clements(PyObject *, PyObject *args) {
  int cx, n;
  Py_ssize_t batch;
  PyObject *o[5];
  if (!PyArg_ParseTuple(args, "iinOOOOO", &cx, &n, &batch, o, o + 1, o + 2, o + 3, o + 4))
    return nullptr;
  if (n < 1 || batch < 0) return PyErr_Format(PyExc_ValueError, "bad size");
  size_t square = size_t(n) * n * (cx ? 2 : 1), count = size_t(n) * (n - 1) / 2, b = size_t(batch);
  View u, theta, phi, out, defect;
  if (!u.open(o[0], b * square * D, false) || !theta.open(o[1], b * count * D, true) ||
      !phi.open(o[2], b * count * D, true) || !out.open(o[3], b * n * D, true) ||
      !defect.open(o[4], b * D, true))
    return nullptr;
  bool ok = true;
  Py_BEGIN_ALLOW_THREADS;
  for (size_t i = 0; i < b && ok; i++) {
    double e = table->clements(cx, n, u.in() + i * square, theta.out() + i * count,
                               phi.out() + i * count, out.out() + i * n);
    defect.out()[i] = e;
    ok = !(e < 0.0);
  }
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_isometry(PyObject *, PyObject *args) {
  int cx, r, n, transposed;
  PyObject *o[4];
  if (!PyArg_ParseTuple(args, "iiiiOOOO", &cx, &r, &n, &transposed, o, o + 1, o + 2, o + 3))
    return nullptr;
  if (r < 1 || r > n) return PyErr_Format(PyExc_ValueError, "bad size");
  size_t channels = r < n ? r : n - 1, count = channels * (n - 1) - channels * (channels - 1) / 2;
  View a, theta, phi, out;
  if (!a.open(o[0], size_t(r) * n * (cx ? Z : D), false) || !theta.open(o[1], count * D, true) ||
      !phi.open(o[2], count * D, true) || !out.open(o[3], n * D, true))
    return nullptr;
  double e;
  Py_BEGIN_ALLOW_THREADS;
  e = table->isometry(cx, r, n, a.in(), transposed ? 1 : n, transposed ? r : 1, transposed,
                      theta.out(), phi.out(), out.out());
  Py_END_ALLOW_THREADS;
  return e < 0.0 ? PyErr_NoMemory() : PyFloat_FromDouble(e);
}

// The arrays of a mesh: (ports, column, port, theta, phi, out).
struct MeshArgs {
  int ports = 0;
  size_t count = 0;
  View column, port, theta, phi, out;
  bool open(PyObject *mesh) {
    PyObject *o[5];
    Py_ssize_t k;
    if (!PyArg_ParseTuple(mesh, "inOOOOO", &ports, &k, o, o + 1, o + 2, o + 3, o + 4)) return false;
    count = size_t(k);
    if (ports < 1 || k < 0) return PyErr_Format(PyExc_ValueError, "bad size"), false;
    return column.open(o[0], count * 4, false) && port.open(o[1], count * 4, false) &&
           theta.open(o[2], count * D, false) && phi.open(o[3], count * D, false) &&
           out.open(o[4], ports * D, false);
  }
};
#define MESH m.ports, m.count, m.column.ints(), m.port.ints(), m.theta.in(), m.phi.in(), m.out.in()

PyObject *py_forward(PyObject *, PyObject *args) {
  int cx;
  Py_ssize_t batch;
  PyObject *mesh, *ox, *oy;
  if (!PyArg_ParseTuple(args, "OiOnO", &mesh, &cx, &ox, &batch, &oy)) return nullptr;
  MeshArgs m;
  View x, y;
  bool identity = Py_IsNone(ox);
  if (!m.open(mesh)) return nullptr;
  if (identity && batch != m.ports) return PyErr_Format(PyExc_ValueError, "bad size");
  size_t bytes = size_t(m.ports) * size_t(batch) * (cx ? Z : D);
  if ((!identity && !x.open(ox, bytes, false)) || !y.open(oy, bytes, true)) return nullptr;
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->forward(cx, MESH, identity ? nullptr : x.in(), size_t(batch), y.out());
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_cells(PyObject *, PyObject *args) {
  Py_ssize_t batch;
  PyObject *mesh, *oc, *ox, *oy;
  if (!PyArg_ParseTuple(args, "OOOnO", &mesh, &oc, &ox, &batch, &oy)) return nullptr;
  MeshArgs m;
  View c, x, y;
  if (!m.open(mesh)) return nullptr;
  size_t bytes = size_t(m.ports) * size_t(batch) * Z;
  if (!c.open(oc, m.count * 4 * Z, false) || !x.open(ox, bytes, false) || !y.open(oy, bytes, true))
    return nullptr;
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->cells(m.ports, m.count, m.column.ints(), m.port.ints(), m.out.in(), c.in(), x.in(),
                    size_t(batch), y.out());
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_vjp(PyObject *, PyObject *args) {
  Py_ssize_t batch;
  PyObject *mesh, *o[6];
  if (!PyArg_ParseTuple(args, "OnOOOOOO", &mesh, &batch, o, o + 1, o + 2, o + 3, o + 4, o + 5))
    return nullptr;
  MeshArgs m;
  View y, g, theta, phi, out, x;
  if (!m.open(mesh)) return nullptr;
  size_t bytes = size_t(m.ports) * size_t(batch) * Z;
  if (!y.open(o[0], bytes, false) || !g.open(o[1], bytes, false) ||
      !theta.open(o[2], m.count * D, true) || !phi.open(o[3], m.count * D, true) ||
      !out.open(o[4], m.ports * D, true) || !x.open(o[5], bytes, true))
    return nullptr;
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->vjp(MESH, y.in(), g.in(), size_t(batch), theta.out(), phi.out(), out.out(), x.out());
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_taps(PyObject *, PyObject *args) {
  int transposed;
  Py_ssize_t batch;
  PyObject *mesh, *ox, *ot;
  if (!PyArg_ParseTuple(args, "OOniO", &mesh, &ox, &batch, &transposed, &ot)) return nullptr;
  MeshArgs m;
  View x, t;
  if (!m.open(mesh)) return nullptr;
  if (!x.open(ox, size_t(m.ports) * size_t(batch) * Z, false) ||
      !t.open(ot, m.count * 2 * size_t(batch) * Z, true))
    return nullptr;
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->taps(MESH, x.in(), size_t(batch), transposed, t.out());
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_cells_vjp(PyObject *, PyObject *args) {
  Py_ssize_t batch;
  PyObject *mesh, *o[5];
  if (!PyArg_ParseTuple(args, "OnOOOOO", &mesh, &batch, o, o + 1, o + 2, o + 3, o + 4))
    return nullptr;
  MeshArgs m;
  View c, x, g, grad_cells, grad_x;
  if (!m.open(mesh)) return nullptr;
  size_t bytes = size_t(m.ports) * size_t(batch) * Z, square = m.count * 4 * Z;
  if (!c.open(o[0], square, false) || !x.open(o[1], bytes, false) || !g.open(o[2], bytes, false) ||
      !grad_cells.open(o[3], square, true) || !grad_x.open(o[4], bytes, true))
    return nullptr;
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->cells_vjp(m.ports, m.count, m.column.ints(), m.port.ints(), m.out.in(), c.in(),
                        x.in(), g.in(), size_t(batch), grad_cells.out(), grad_x.out());
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_copies(PyObject *, PyObject *args) {
  int ports, rows, sizes, commons, set;
  Py_ssize_t k, copies, batch;
  PyObject *a[4], *o[12];
  if (!PyArg_ParseTuple(args, "(inOOOO)(niiii)OOOOOOOOOnOOO", &ports, &k, a, a + 1, a + 2, a + 3,
                        &copies, &rows, &sizes, &commons, &set, o, o + 1, o + 2, o + 3, o + 4,
                        o + 5, o + 6, o + 7, o + 8, &batch, o + 9, o + 10, o + 11))
    return nullptr;
  if (ports < 1 || k < 0 || copies < 0 || batch < 0 || rows != 30 || sizes != 12 || commons != 5)
    return PyErr_Format(PyExc_ValueError, "bad size");
  const size_t n = size_t(k), c = size_t(copies), p = size_t(ports), fields = c * p * size_t(batch);
  View column, port, out, devices, number, made, size, keys, common, gathered, power, change;
  View cells, x, factors, y;
  const bool drives = !Py_IsNone(o[1]), changes = !Py_IsNone(o[7]), light = !Py_IsNone(o[11]);
  const bool enters = light && !Py_IsNone(o[9]);
  if ((set && !changes) || (light && !enters && batch != ports))
    return PyErr_Format(PyExc_ValueError, "bad size");
  if (!column.open(a[0], n * 4, false) || !port.open(a[1], n * 4, false) ||
      !out.open(a[2], p * D, false) || !devices.open(a[3], size_t(rows) * n * D, false) ||
      !number.open(o[0], n * 8, false) || (drives && !made.open(o[1], 2 * n * D, false)) ||
      !size.open(o[2], size_t(sizes) * D, false) || !keys.open(o[3], c * 8, false) ||
      !common.open(o[4], size_t(commons) * c * D, false) || !gathered.open(o[5], c * p * D, true) ||
      !power.open(o[6], p * D, true) || (changes && !change.open(o[7], 2 * c * n * D, true)) ||
      (!light && !cells.open(o[8], c * n * 4 * Z, true)) ||
      (enters && !x.open(o[9], fields * Z, false)) ||
      (light && (!factors.open(o[10], c * p * Z, false) || !y.open(o[11], fields * Z, true))))
    return nullptr;
  const int32_t *at = port.ints();
  for (size_t j = 0; j < n; j++)
    if (at[j] < 0 || at[j] > ports - 2) return PyErr_Format(PyExc_ValueError, "bad port");
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->copies(ports, n, column.ints(), at, out.in(), devices.in(),
                     static_cast<const uint64_t *>(number.buffer.buf), drives ? made.in() : nullptr,
                     c, size.in(), static_cast<const uint64_t *>(keys.buffer.buf), common.in(), set,
                     gathered.out(), power.out(), changes ? change.out() : nullptr,
                     changes ? change.out() + c * n : nullptr, light ? nullptr : cells.out(),
                     enters ? x.in() : nullptr, size_t(batch), light ? factors.in() : nullptr,
                     light ? y.out() : nullptr);
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_imperfect(PyObject *, PyObject *args) {
  Py_ssize_t batch, copies;
  unsigned long long seed, first;
  PyObject *mesh, *ox, *os, *oy;
  if (!PyArg_ParseTuple(args, "OOnOKKnO", &mesh, &ox, &batch, &os, &seed, &first, &copies, &oy))
    return nullptr;
  MeshArgs m;
  View x, s, y;
  if (!m.open(mesh)) return nullptr;
  size_t bytes = size_t(m.ports) * size_t(batch) * Z;
  if (!x.open(ox, bytes, false) || !s.open(os, 5 * D, false) ||
      !y.open(oy, bytes * size_t(copies), true))
    return nullptr;
  int ok;
  Py_BEGIN_ALLOW_THREADS;
  ok = table->imperfect(MESH, x.in(), size_t(batch), s.in(), seed, first, size_t(copies), y.out());
  Py_END_ALLOW_THREADS;
  return done(ok);
}

PyObject *py_normals(PyObject *, PyObject *args) {
  unsigned long long key, first;
  Py_ssize_t count;
  PyObject *o;
  if (!PyArg_ParseTuple(args, "KKnO", &key, &first, &count, &o)) return nullptr;
  View to;
  if (count < 0) return PyErr_Format(PyExc_ValueError, "bad size");
  if (!to.open(o, size_t(count) * D, true)) return nullptr;
  Py_BEGIN_ALLOW_THREADS;
  table->normals(key, first, size_t(count), to.out());
  Py_END_ALLOW_THREADS;
  return done(1);
}

PyObject *py_device_normals(PyObject *, PyObject *args) {
  Py_ssize_t copies, count;
  int stream;
  PyObject *o[3];
  if (!PyArg_ParseTuple(args, "nniOOO", &copies, &count, &stream, o, o + 1, o + 2)) return nullptr;
  if (copies < 0 || count < 0) return PyErr_Format(PyExc_ValueError, "bad size");
  const size_t c = size_t(copies), n = size_t(count);
  View keys, device, to;
  if (!keys.open(o[0], c * 8, false) || !device.open(o[1], n * 8, false) ||
      !to.open(o[2], 2 * c * n * D, true))
    return nullptr;
  Py_BEGIN_ALLOW_THREADS;
  table->device_normals(c, static_cast<const uint64_t *>(keys.buffer.buf), n,
                        static_cast<const uint64_t *>(device.buffer.buf), stream, to.out());
  Py_END_ALLOW_THREADS;
  return done(1);
}

PyObject *py_balance(PyObject *, PyObject *args) {
  int ports;
  Py_ssize_t k;
  double passing;
  PyObject *o[8];
  if (!PyArg_ParseTuple(args, "indOOOOOOOO", &ports, &k, &passing, o, o + 1, o + 2, o + 3, o + 4,
                        o + 5, o + 6, o + 7))
    return nullptr;
  if (ports < 1 || k < 0) return PyErr_Format(PyExc_ValueError, "bad size");
  size_t n = size_t(k);
  View column, port, theta, phi, behind, carried, lit, to;
  if (!column.open(o[0], n * 4, false) || !port.open(o[1], n * 4, false) ||
      !theta.open(o[2], n * D, false) || !phi.open(o[3], n * D, false) ||
      !behind.open(o[4], n * D, false) || !carried.open(o[5], ports * D, true) ||
      !lit.open(o[6], ports, true) || !to.open(o[7], n * D, true))
    return nullptr;
  Py_BEGIN_ALLOW_THREADS;
  gauge::balance(ports, n, column.ints(), port.ints(), theta.in(), phi.in(), behind.in(), passing,
                 carried.out(), lit.bytes(), to.out());
  Py_END_ALLOW_THREADS;
  return done(1);
}

PyObject *py_realise(PyObject *, PyObject *args) {
  int ports, turns, quarters, removed, passive, active;
  Py_ssize_t k;
  double passing, negligible;
  PyObject *o[12];
  if (!PyArg_ParseTuple(args, "in(ddiiiii)OOOOOOOOOOOO", &ports, &k, &passing, &negligible, &turns,
                        &quarters, &removed, &passive, &active, o, o + 1, o + 2, o + 3, o + 4,
                        o + 5, o + 6, o + 7, o + 8, o + 9, o + 10, o + 11))
    return nullptr;
  if (ports < 1 || k < 0) return PyErr_Format(PyExc_ValueError, "bad size");
  size_t n = size_t(k);
  View column, port, given, fixed, behind, turned, common, carried, lit, theta, phi, state;
  if (!column.open(o[0], n * 4, false) || !port.open(o[1], n * 4, false) ||
      !given.open(o[2], n * D, false) || !fixed.open(o[3], n, false) ||
      !behind.open(o[4], n * D, false) || !turned.open(o[5], n * D, false) ||
      !common.open(o[6], 4 * D, false) || !carried.open(o[7], ports * D, true) ||
      !lit.open(o[8], ports, true) || !theta.open(o[9], n * D, true) ||
      !phi.open(o[10], n * D, true) || !state.open(o[11], n, true))
    return nullptr;
  gauge::Rules rules{common.in(), passing,         negligible,       turns,
                     quarters,    uint8_t(removed), uint8_t(passive), uint8_t(active)};
  Py_BEGIN_ALLOW_THREADS;
  gauge::realise(ports, n, column.ints(), port.ints(), given.in(), fixed.bytes(), behind.in(),
                 turned.in(), rules, carried.out(), lit.bytes(), theta.out(), phi.out(),
                 state.bytes());
  Py_END_ALLOW_THREADS;
  return done(1);
}

PyObject *py_select(PyObject *, PyObject *args) {
  const char *limit;
  if (!PyArg_ParseTuple(args, "s", &limit)) return nullptr;
  table = best(limit, &table_name);
  return PyUnicode_FromString(table_name);
}

PyMethodDef methods[] = {
    {"clements", py_clements, METH_VARARGS, "Phases of a stack of unitary matrices."},
    {"isometry", py_isometry, METH_VARARGS, "Phases of a truncated triangle."},
    {"forward", py_forward, METH_VARARGS, "Light through a mesh."},
    {"cells", py_cells, METH_VARARGS, "Light through any 2 x 2 cells."},
    {"vjp", py_vjp, METH_VARARGS, "Gradients of the phases."},
    {"taps", py_taps, METH_VARARGS, "Fields next to every MZI."},
    {"cells_vjp", py_cells_vjp, METH_VARARGS, "Gradients of any 2 x 2 cells."},
    {"copies", py_copies, METH_VARARGS, "Imperfect copies of a mesh, or light through them."},
    {"imperfect", py_imperfect, METH_VARARGS, "Light through imperfect copies."},
    {"normals", py_normals, METH_VARARGS, "Normal numbers of a row of devices."},
    {"device_normals", py_device_normals, METH_VARARGS, "Normal numbers of devices and copies."},
    {"balance", py_balance, METH_VARARGS, "Drawn phases to the balanced gauge."},
    {"realise", py_realise, METH_VARARGS, "Balanced phases to drawn ones."},
    {"select", py_select, METH_VARARGS, "Limit the instruction set; returns the one in use."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Compiled kernels.", -1, methods,
    nullptr,               nullptr,   nullptr,             nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__native(void) {
  table = best("", &table_name);
  return PyModule_Create(&definition);
}
