//! One file a command: its arguments, and what it prints.

mod batch;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod cat;
pub(crate) mod copy;
pub(crate) mod docs;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod make;
pub(crate) mod opened;
pub(crate) mod pack;
pub(crate) mod policy;
mod report;
pub(crate) mod rm;
pub(crate) mod trace;
pub(crate) mod verify;
pub(crate) mod ztoc;
