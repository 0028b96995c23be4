//! Something to build: a context, and a repository of the same name.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use sociable_tests::frontend::{Builder, buildx, context, sociable_buildx};
use sociable_tests::stack::Stack;
use sociable_tests::{Run, run, sociable};

/// Options with which small layers are indexed.
pub(super) const SMALL: [&str; 2] = ["MIN_LAYER_SIZE=1MiB", "SPAN_SIZE=256KiB"];

pub(super) struct Project {
    pub(super) stack: &'static Stack,
    pub(super) name: String,
    pub(super) dir: PathBuf,
    /// `HOST:PORT/NAME`.
    pub(super) repository: String,
}

impl Project {
    pub(super) fn new(stack: &'static Stack, name: &str, files: &[(&str, &[u8])]) -> Self {
        Self {
            stack,
            name: name.to_owned(),
            dir: context(stack, name, files),
            repository: format!("{}/{name}", stack.registry()),
        }
    }

    /// The image with a tag.
    pub(super) fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }

    /// A build with Sociable's frontend; small layers are indexed, too.
    pub(super) fn sociable(&self, builder: Builder, options: &[&str]) -> Command {
        let options = [&SMALL[..], options].concat();
        sociable_buildx(self.stack, builder, &self.dir, &options)
    }

    /// A build with BuildKit's own.
    pub(super) fn plain(&self, builder: Builder) -> Command {
        buildx(self.stack, builder, &self.dir)
    }

    /// Builds and pushes an image by BuildKit's exporter.
    pub(super) fn push_image(&self, builder: Builder, tag: &str, options: &[&str]) -> Run {
        let repo = format!("REPO={}", self.repository);
        let options = [&["OUTPUT=image", &repo], options].concat();
        let mut build = self.sociable(builder, &options);
        run(build.args(["--tag", &self.image(tag), "--push", "."])).ok()
    }

    /// Builds an OCI archive: its path.
    pub(super) fn archive(&self, builder: Builder, options: &[&str], arguments: &[&str]) -> String {
        let file = self.dir.join(format!("{}.tar", builder.word()));
        let output = format!("type=tar,dest={}", file.display());
        let options = [&["OUTPUT=layout"], options].concat();
        let mut build = self.sociable(builder, &options);
        let _ = run(build.args(["--output", &output]).args(arguments).arg(".")).ok();
        file.to_str().expect("UTF-8").to_owned()
    }

    /// `sociable verify` of something that has this many SOCI indexes.
    #[track_caller]
    pub(super) fn verify(&self, what: &str, indexes: usize) {
        let registry = self.stack.registry();
        let verified = run(&mut sociable(["verify", what, "--plain-http", &registry])).ok();
        let indexes = match indexes {
            1 => "1 SOCI index of".to_owned(),
            more => format!("{more} SOCI indexes of"),
        };
        assert!(verified.text().starts_with(&indexes), "{verified}");
    }

    /// A manifest or index of the repository, by tag or digest.
    #[track_caller]
    pub(super) fn manifest(&self, which: &str) -> Value {
        let separator = if which.contains(':') { '@' } else { ':' };
        let reference = format!("{}{separator}{which}", self.repository);
        self.stack.json(&format!("crane manifest {reference}"))
    }

    /// The SOCI index that an image's manifest names.
    #[track_caller]
    pub(super) fn soci_index(&self, manifest: &Value) -> Value {
        let digest = &manifest["annotations"]["com.amazon.soci.index-digest"];
        self.manifest(digest.as_str().expect("an index of the image"))
    }
}

/// The digests of a manifest's layers.
pub(super) fn layers(manifest: &Value) -> Vec<&str> {
    let layers = manifest["layers"].as_array().expect("layers");
    let digests = layers.iter().map(|layer| layer["digest"].as_str());
    digests.map(|digest| digest.expect("a digest")).collect()
}
