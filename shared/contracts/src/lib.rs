//! Contracts: generated code, the file descriptor set, resource names, reasons, and the OpenAPI document.
//!
//! Modules of generated code follow the proto packages without the leading `keyplane`: the package
//! `keyplane.session.v1` is [`session::v1`], `google.rpc` is [`google::rpc`].

pub mod codec;
mod duration;
mod entries;
pub mod envoy;
mod generated;
pub mod http;
pub mod json;
pub mod names;
pub mod openapi;
pub mod page;
pub mod reasons;
pub mod rules;
pub mod timestamp;
mod violation;

pub use duration::{duration, span};
pub use generated::{FILE_DESCRIPTOR_SET, audit, google, memory, ratelimit, revocation, rpc, search, session};
pub use violation::{Violation, Violations};
