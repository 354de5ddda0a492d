#define KERNEL_ARCH arch_baseline
#define KERNEL_TABLE kernels_baseline
#include "arch.hpp"
