//! Use cases that take more than one call of the store.

mod login;
mod logout;
mod watcher;
mod watches;

pub(crate) use login::Login;
pub(crate) use logout::Logout;
pub use watcher::Watcher;
pub(crate) use watches::{OpenWatch, Watches};
