//! `sociable build`: `docker buildx build` with our BuildKit frontend, which makes the SOCI index within the build.
//!
//! ```text
//!  words ──▶ flags ──▶ output: what leaves the build, and how ─┐
//!                                                              ├──▶ plan: the command ──▶ docker ──▶ made: what it made
//!  registries that are pushed to ──▶ secret: credentials ──────┘
//! ```
//!
//! | to change | look in |
//! |---|---|
//! | which flags docker has, how words are taken apart | [`flags`] |
//! | which words are ours and which docker's | [`sort`] |
//! | what an `-o`, `--push` or `--load` means | [`output`], [`export`] |
//! | build arguments, secrets, the command | [`plan`], [`secret`] |
//! | policies and their files | [`policies`] |
//! | running docker, what to say when it is missing | [`docker`] |
//! | what is looked up afterwards | [`made`] |

pub(crate) mod docker;
mod export;
mod flags;
pub(crate) mod made;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod policies;
mod secret;
pub(crate) mod sort;

pub(crate) use flags::DockerArgs;
