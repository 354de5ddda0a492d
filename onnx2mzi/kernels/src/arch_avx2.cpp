#define KERNEL_ARCH arch_avx2
#define KERNEL_TABLE kernels_avx2
#include "arch.hpp"
