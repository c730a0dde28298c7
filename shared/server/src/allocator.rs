//! Allocator of every program that links the kit.
//!
//! A call allocates once for each string of its request, and a batch of a hundred checks has seven hundred of them: that is
//! a third of what it costs with the C library's own allocator (docs/BENCHMARKS.md).

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
