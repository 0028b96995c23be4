//! Components: from a file, or from a registry in the layout that `wkg` writes.

use std::fs;
use std::path::{Path, PathBuf};

use sociable_oci::wasm::{self, Found, Interfaces};
use sociable_oci::{Access, Descriptor, Digest, Source, Transport};
use sociable_policy::builtin;
use sociable_policy::spec::Place;
use sociable_soci::cache;

use crate::error::CliError;
use crate::output;

/// A component, and where it came from.
pub(crate) struct Component {
    pub(crate) reference: String,
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub(crate) digest: Digest,
    /// Its manifest's digest, where it has one.
    pub(crate) manifest: Option<Digest>,
}

/// Where a policy is; a plain word that is none of ours can be a file here.
pub(crate) fn place(reference: &str) -> Place<'_> {
    match Place::of(reference) {
        Place::BuiltIn if !builtin::is(reference) && fs::exists(reference).unwrap_or(false) => {
            Place::File(reference)
        }
        place => place,
    }
}

/// Where a component in a registry, or in an image layout, is.
fn transport(reference: &str) -> Option<Result<Transport, CliError>> {
    let text = match place(reference) {
        Place::Registry(rest) => format!("docker://{rest}"),
        Place::Transport(text) => text.to_owned(),
        Place::BuiltIn | Place::File(_) => return None,
    };
    let parsed = text.parse();
    Some(parsed.map_err(|error| CliError::usage(format!("{reference}: {error}"))))
}

impl Component {
    /// # Errors
    /// When it does not even begin as a component.
    pub(crate) fn checked(self) -> Result<Self, CliError> {
        if self.bytes.starts_with(b"\0asm\x0d\0\x01\0") {
            return Ok(self);
        }
        Err(CliError::failed(format!(
            "{} is no WebAssembly component",
            self.reference
        )))
    }

    /// Reads a component.
    ///
    /// # Errors
    /// When it is not there, or too large.
    pub(crate) fn fetch(reference: &str, access: &Access) -> Result<Self, CliError> {
        if builtin::is(reference) {
            return Err(CliError::usage(format!(
                "policy {reference} is built in, and no component; a file of that name is ./{reference}"
            )));
        }
        let (bytes, manifest) = if let Some(transport) = transport(reference) {
            let (bytes, manifest) = pulled(&transport?, reference, access)?;
            (bytes, Some(manifest))
        } else {
            let bytes = wasm::read_file(Path::new(reference))
                .map_err(CliError::io("read the policy", reference))?;
            (bytes, None)
        };
        Ok(Self {
            reference: reference.to_owned(),
            digest: Digest::sha256_of(&bytes),
            manifest,
            bytes,
        })
    }
}

fn pulled(
    transport: &Transport,
    reference: &str,
    access: &Access,
) -> Result<(Vec<u8>, Digest), CliError> {
    let source: Box<dyn Source> = transport.open(access)?.ok_or_else(|| {
        CliError::failed(format!(
            "{reference} holds no policy: a policy is not read from a stream"
        ))
    })?;
    let Found { manifest, layer } = wasm::find(&*source, transport.tag())?;
    let kept = kept(transport, &layer.digest);
    if let Some(path) = &kept
        && let Ok(bytes) = wasm::read_file(path)
        && Digest::sha256_of(&bytes) == layer.digest
    {
        return Ok((bytes, manifest));
    }
    let bytes = source.document_within(&layer, wasm::LARGEST)?;
    if let Some(path) = kept {
        // That it cannot be kept is no reason to fail.
        let _ = keep(&path, &bytes);
    }
    Ok((bytes, manifest))
}

/// Where a component that was fetched is kept: by digest, in the user's cache directory.
fn kept(transport: &Transport, digest: &Digest) -> Option<PathBuf> {
    let remote = matches!(transport, Transport::Registry(_));
    let directory = cache::default_dir().filter(|_| remote)?;
    Some(directory.join("components").join(digest.hex()))
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(CliError::io("make", directory.display()))?;
    }
    output::File::begin(path)?.write(|out| out.write_all(bytes))
}

/// Writes a component in the layout that `wkg` writes; gives the manifest's descriptor.
///
/// # Errors
/// When the destination cannot be written.
pub(crate) fn push(
    component: &Component,
    about: &sociable_policy_wasm::Description,
    destination: &str,
    access: &Access,
) -> Result<Descriptor, CliError> {
    let transport = transport(destination).ok_or_else(|| {
        CliError::usage(format!(
            "{destination}: a policy goes to oci://HOST/REPO:TAG or oci:DIR[:TAG]"
        ))
    })??;
    let sink = transport.create(access)?;
    let interfaces = Interfaces {
        exports: about.exports.clone(),
        imports: about.imports.clone(),
    };
    let annotations = [
        ("title", &about.name),
        ("version", &about.version),
        ("description", &about.summary),
    ];
    let annotations = annotations
        .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()));
    let (annotations, tag) = (annotations.into(), transport.tag());
    Ok(wasm::write(
        sink,
        &component.bytes,
        interfaces,
        annotations,
        tag,
    )?)
}
