//! Policies, and what they are tried on.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sociable_layer::pack::DEFAULT_LEVEL;
use sociable_oci::oci_dir::{OciDir, OciDirSink};
use sociable_oci::{Descriptor, Digest, IndexUpdate, Sink, media_type, wasm};
use sociable_policy::{Interface, Policies, Policy, builtin, spec};
use sociable_policy_wasm::{Host, Limits, Quiet};
use sociable_soci::outcome::LayerOutcome;
use sociable_soci::parts::{self, Part};
use sociable_soci::{Cancel, IndexSettings, Run, Silent};
use sociable_ztoc::Ztoc;
use tempfile::TempDir;

use crate::{Blob, Error, Layer, Tree};

/// Policies, and how they are asked. Without a policy the reference's rules hold: a span every 4 MiB.
#[derive(Debug, Clone)]
pub struct Kit {
    settings: IndexSettings,
    limits: Limits,
    level: u8,
}

impl Default for Kit {
    fn default() -> Self {
        Self::new()
    }
}

impl Kit {
    /// Without a policy. No layer is too small for an index.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: IndexSettings {
                min_layer_size: 0,
                ..IndexSettings::default()
            },
            limits: Limits::DEFAULT,
            level: DEFAULT_LEVEL,
        }
    }

    /// With a component in a file; `parameters` are JSON, or `NAME=VALUE` with commas between, as behind `--policy`.
    ///
    /// # Errors
    /// When it is no policy, refuses the parameters, or decides what another one does.
    pub fn component(self, path: impl AsRef<Path>, parameters: &str) -> Result<Self, Error> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let bytes = wasm::read_file(path).map_err(Error::io(place.clone()))?;
        let read = |file: &str| fs::read(file);
        let parameters = spec::parse_parameters(&place, parameters, &read)?;
        let host = Host::new(self.limits, Arc::new(Quiet), None)?;
        let policy = host.open(&bytes, &place)?.policy(&parameters)?;
        self.policy(policy, None)
    }

    /// With a policy that is built in: `sociable policy list`.
    ///
    /// # Errors
    /// When there is none of that name, it refuses the parameters, or decides what another one does.
    pub fn built_in(self, name: &str, parameters: &str) -> Result<Self, Error> {
        let read = |file: &str| fs::read(file);
        let parameters = spec::parse_parameters(name, parameters, &read)?;
        self.policy(builtin::load(name, &parameters)?, None)
    }

    /// With a policy in Rust, for all that it decides, or for `only` one thing.
    ///
    /// # Errors
    /// When it decides what another one does.
    pub fn policy(mut self, policy: Policy, only: Option<Interface>) -> Result<Self, Error> {
        let mut policies = std::mem::take(&mut self.settings.policies);
        policies.add(policy, only)?;
        self.settings.policies = policies;
        Ok(self)
    }

    /// What components that are added from now on may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With another size of spans that policies are told, in bytes of tar.
    #[must_use]
    pub fn span_size(mut self, bytes: u64) -> Self {
        self.settings.span_size = bytes.max(1);
        self
    }

    /// With another size below which layers get no index, unless a policy decides, in compressed bytes.
    #[must_use]
    pub fn min_layer_size(mut self, bytes: u64) -> Self {
        self.settings.min_layer_size = bytes;
        self
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.settings.policies
    }

    /// Packs a tree into a layer, as `sociable pack` does, and reads every file back.
    ///
    /// # Errors
    /// [`Error`]; a policy's is an [`Error::Engine`].
    pub fn pack(&self, tree: &Tree) -> Result<Layer, Error> {
        let place = Place::new()?;
        let entries = tree.entries.iter();
        let entries = entries.map(|(header, content)| Ok((header.clone(), content.as_slice())));
        let part = run(|run| {
            let (settings, sink) = (&self.settings, &place.sink);
            parts::pack_layer(entries, sink, "the tree", settings, self.level, run)
        })?;
        let layer = place.layer(part)?;
        layer.holds(tree)?;
        Ok(layer)
    }

    /// Indexes a layer, as `sociable convert` does, and reads every file back.
    ///
    /// # Errors
    /// [`Error`]; a policy's is an [`Error::Engine`].
    pub fn index(&self, blob: &Blob) -> Result<Layer, Error> {
        let place = Place::new()?;
        let gzip = blob.bytes.starts_with(&[0x1f, 0x8b]);
        let kind = if gzip {
            media_type::OCI_LAYER_GZIP
        } else {
            media_type::OCI_LAYER
        };
        place.sink.put(&blob.bytes).map_err(engine)?;
        let layer = Descriptor::of(kind, &blob.bytes);
        let listed = OciDirSink::create(place.dir.path()).map_err(engine)?;
        let listed: Box<dyn Sink> = Box::new(listed);
        let update = IndexUpdate::new(layer.clone());
        listed.finish(&update).map_err(engine)?;
        let source = OciDir::open(place.dir.path()).map_err(engine)?;
        let diff_id = Digest::sha256_of(b"not asked for");
        let part = run(|run| {
            let (settings, sink) = (&self.settings, &place.sink);
            parts::index_layer(&source, &layer, diff_id, sink, settings, run)
        })?;
        let layer = place.layer(part)?;
        layer.can_be_read()?;
        Ok(layer)
    }
}

fn engine(error: sociable_oci::Error) -> Error {
    sociable_soci::Error::from(error).into()
}

fn run<T>(
    work: impl FnOnce(Run<'_>) -> Result<T, sociable_soci::Error>,
) -> Result<T, sociable_soci::Error> {
    let cancel = Cancel::new();
    work(Run {
        progress: &Silent,
        cancel: &cancel,
        jobs: 0,
    })
}

/// A directory for blobs.
struct Place {
    dir: TempDir,
    sink: OciDirSink,
}

impl Place {
    fn new() -> Result<Self, Error> {
        let dir = tempfile::tempdir().map_err(Error::io("a temporary directory"))?;
        let sink = OciDirSink::create(dir.path()).map_err(engine)?;
        Ok(Self { dir, sink })
    }

    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.dir.path().join("blobs/sha256").join(digest.hex());
        fs::read(path).map_err(Error::io(digest.to_string()))
    }

    fn layer(&self, part: Part) -> Result<Layer, Error> {
        let blob = self.blob(&part.layer.digest)?;
        let indexed = match part.outcome {
            LayerOutcome::Indexed(indexed) => indexed,
            LayerOutcome::Skipped(reason) => return Err(Error::NoIndex(reason.to_string())),
            LayerOutcome::Copied => return Err(Error::NoIndex("it was only copied".to_owned())),
        };
        let ztoc = self.blob(&indexed.ztoc)?;
        let ztoc = Ztoc::decode(&ztoc).map_err(|error| Error::Ztoc(Box::new(error)))?;
        Ok(Layer::new(blob, ztoc, &indexed.chosen))
    }
}
