//! Server kit over real sockets, with a small gRPC service of its own.

mod admin;
mod burst;
mod config;
mod deadline;
mod drain;
mod echo;
mod errors;
mod health;
mod order;
mod reflection;
mod setup;
mod trace;
