//! Allocator of every program that links the kit.
//!
//! Calls allocate once for each string of their request, and a batch of a hundred checks has seven hundred. The C library's
//! allocator takes a third of the time of such a batch (docs/BENCHMARKS.md).

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
