#define KERNEL_ARCH arch_avx512
#define KERNEL_TABLE kernels_avx512
#include "arch.hpp"
