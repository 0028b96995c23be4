//! The interfaces of `wit/0.1.0`, generated.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    reason = "generated; wit/ documents it"
)]

wasmtime::component::bindgen!({
    path: "../../wit/0.1.0",
    world: "everything",
    imports: { default: trappable },
});

pub(crate) use exports::sociable::policy::{compression, order, plugin, prefetch, selection, span};
pub(crate) use sociable::policy::{log, types};
