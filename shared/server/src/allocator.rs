//! Allocator of every program that links the kit: mimalloc.
//!
//! Calls allocate once for each string of their request, and a batch of a hundred checks has seven hundred. The C library's
//! allocator takes a third of the time of such a batch (docs/BENCHMARKS.md).
//!
//! The feature `no_thp` keeps mimalloc from asking the kernel for transparent huge pages: 2 MiB for each region touched,
//! which more than doubles the memory of an idle service.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
