//! Numeric kernels for CPUs: slices in and slices out, the instruction set chosen at run time.
