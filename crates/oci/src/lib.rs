//! OCI images: descriptors, documents, JSON as Go writes it, and one file per transport.
//!
//! **What enters**: images from elsewhere, none of it trusted. Digests and sizes are verified, and everything that
//! comes from outside has a limit ([`limits`]).
//!
//! **What leaves**: the same types ([`Descriptor`], [`Index`], [`Manifest`], [`Config`]), blobs as plain readers, and
//! images that become visible in one atomic step.
//!
//! **What must never be done here**: nothing about lazy loading (no annotation, media type or file of it; that is
//! the business of the crate `soci`), no looking into layers, no printing, no asynchronous interface. A transport that
//! needs a network runtime keeps it inside.
//!
//! Everything reads through [`Source`] and writes through [`Sink`]; [`Transport`] turns what a user types into one.
//!
//! | a user types | module | read | written |
//! |---|---|---|---|
//! | `docker://REFERENCE` | [`registry`] | random access, range requests | blob by blob, then manifests, then the tag |
//! | `oci:DIR[:TAG]` | [`oci_dir`] | random access | blob by blob, then `index.json` |
//! | `oci-archive:FILE[:TAG]` | [`oci_archive`] | random access | a new file, renamed at the end |
//! | `containerd:REFERENCE` | [`containerd`] | random access | blob by blob, then the image's entry |
//! | `-` | [`oci_stream`] | once, as events | once, in order |
//! | `docker-archive:FILE[:REFERENCE]` | [`docker_archive`] | random access | – |
//! | `docker-daemon:REFERENCE` | [`docker_daemon`] | once, as events | once, in order |
//!
//! **`oci:`** is an image layout in a directory (image-spec, `image-layout.md`), with any number of tagged images. It
//! may be source and destination at once, and several processes may write to it. A process killed at any moment leaves
//! it as it was, or complete.
//!
//! **`oci-archive:`** is a tar of a layout in a file. It is scanned once when it is opened, and read like a directory
//! from then on. It is always written anew.
//!
//! **`containerd:`** is an image in containerd's own store, over its gRPC socket. What is written is held by a lease
//! until the image's entry changes at the end.
//!
//! **`-`** is an oci-archive on a pipe, such as `docker buildx build -o type=oci,dest=-` makes. Blobs come before
//! the documents that explain them, so it is read as a sequence of events rather than as a [`Source`]. As a [`Sink`]
//! it differs from an archive in one thing: what was begun with a known size has to be completed.
//!
//! **`docker-archive:`** is what `docker save` writes. It is only read, since it has no image index. Its layers are
//! often plain tars: [`Transport::has_plain_layers`] says where that is to be expected.
//!
//! **`docker-daemon:`** is an image of a running Docker, which comes and goes as a stream like the one of `-`.
//!
//! ```
//! use sociable_oci::{Descriptor, IndexUpdate, Selection, Sink, Source, media_type, select};
//! use sociable_oci::{oci_archive::OciArchiveSink, oci_dir::{OciDir, OciDirSink}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temp = tempfile::tempdir()?;
//! # let (layout, archive) = (temp.path().join("layout"), temp.path().join("image.tar"));
//! // Write a layout with one blob …
//! let sink = OciDirSink::create(&layout)?;
//! let manifest = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
//! sink.put(b"{}")?;
//! Box::new(sink).finish(&IndexUpdate::new(manifest).tagged(Some("v1")))?;
//!
//! // … and copy it into an archive.
//! let source = OciDir::open(&layout)?;
//! let Selection::One(image) = select(&source.index()?, Some("v1"))? else { unreachable!() };
//! let sink = OciArchiveSink::create(&archive)?;
//! sink.import_from(&source, &image)?;
//! Box::new(sink).finish(&IndexUpdate::new(*image))?;
//! # Ok(())
//! # }
//! ```
//!
//! Errors keep their cause in [`std::error::Error::source`] and do not repeat it: print the chain.

pub mod access;
pub mod containerd;
pub mod digest;
pub mod docker_archive;
pub mod docker_daemon;
pub mod docker_manifest;
pub mod document;
pub mod error;
pub mod json;
pub mod limits;
pub mod media_type;
pub mod oci_archive;
pub mod oci_dir;
pub mod oci_stream;
pub mod platform;
pub mod registry;
mod section;
pub mod sink;
pub mod source;
mod tar_read;
mod tar_write;
pub mod transport;
pub mod walk;
pub mod wasm;

pub use access::Access;
pub use digest::{Algorithm, Digest, Hasher, Verifier, VerifyError, VerifyingReader};
pub use document::{Annotations, Config, Descriptor, Document, DocumentError, Index, Manifest};
pub use error::{Error, Result};
pub use oci_stream::{OciStreamSink, StreamEvent, StreamReader};
pub use platform::Platform;
pub use sink::{BlobWriter, Hashing, IndexUpdate, Sink};
pub use source::{SelectError, Selection, Source, select, verified};
pub use transport::Transport;
pub use walk::Walk;
