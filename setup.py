"""The optional compiled kernels; everything else about the package is in pyproject.toml.

Each instruction set is one source file compiled with its own flags; the module picks one when it
is loaded. Without a C++17 compiler the package installs all the same and runs on numpy.
"""

import platform
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = "onnx2mzi/kernels/src"
HEADERS = "adjoint angles arch back clements device normal plan rows sample simd table wave gauge"
FLAGS = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wno-psabi",
]
AVX2 = ["-mavx2", "-mfma"]
SETS = {
    "avx2": AVX2,
    "avx512": [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
}


def instruction_sets() -> dict[str, list[str]]:
    """Flags of the source files beyond the baseline that this machine's compiler builds."""
    intel = platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32
    return SETS if intel else {}


class BuildKernels(build_ext):
    """Compiles every source with its own flags; a failure leaves the package without kernels."""

    def build_extension(self, ext: Extension) -> None:
        try:
            if self.compiler.compiler_type == "msvc":
                raise RuntimeError("the kernels need GCC or Clang")
            self._build(ext)
        except Exception as failure:
            print(f"onnx2mzi: no compiled kernels ({failure}); numpy takes their place")

    def _build(self, ext: Extension) -> None:
        objects = []
        for source in ext.sources:
            flags = next((f for name, f in SETS.items() if source.endswith(f"_{name}.cpp")), [])
            objects += self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                include_dirs=[*ext.include_dirs],
                extra_postargs=[*FLAGS, *flags],
                depends=ext.depends,
            )
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(ext.name),
            libraries=self.get_libraries(ext),
            target_lang="c++",
        )


names = ["module", "arch_baseline", *(f"arch_{name}" for name in instruction_sets())]
setup(
    ext_modules=[
        Extension(
            "onnx2mzi.kernels._native",
            sources=[f"{SOURCE}/{name}.cpp" for name in names],
            depends=[f"{SOURCE}/{name}.hpp" for name in HEADERS.split()],
            include_dirs=[SOURCE],
            language="c++",
            optional=True,
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
