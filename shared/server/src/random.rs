//! Random bytes from the operating system, for ids and nonces that nobody can guess.

/// Failure of the operating system's random source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random source failed")]
pub struct NoRandomness;

/// `N` random bytes.
///
/// # Errors
///
/// [`NoRandomness`].
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    fill(&mut bytes).map(|()| bytes)
}

/// Fills `bytes` at random, with one system call.
///
/// # Errors
///
/// [`NoRandomness`].
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(|_| NoRandomness)
}
