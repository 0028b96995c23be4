//! Components: from a file, or from a registry in the layout that `wkg` writes.

use std::fs;
use std::io::Read as _;

use sociable_oci::{
    Access, Descriptor, Digest, Index, IndexUpdate, Manifest, Source, Transport, media_type,
};
use sociable_policy::builtin;

use crate::error::CliError;

/// Media type of a component's config.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of a component.
const WASM: &str = "application/wasm";
/// No component has more bytes.
const LARGEST: u64 = 64 << 20;

/// A component, and where it came from.
pub(crate) struct Component {
    pub(crate) reference: String,
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub(crate) digest: Digest,
}

/// Whether a reference is a policy that is built in.
pub(crate) fn is_builtin(reference: &str) -> bool {
    let plain = !reference.contains(['/', '.', ':']);
    plain
        && (builtin::all().iter().any(|b| b.name == reference)
            || !fs::exists(reference).unwrap_or(false))
}

/// Where a component in a registry, or in an image layout, is.
fn transport(reference: &str) -> Option<Result<Transport, CliError>> {
    let parsed = |text: &str| {
        text.parse()
            .map_err(|error| CliError::usage(format!("{reference}: {error}")))
    };
    if let Some(rest) = reference.strip_prefix("oci://") {
        return Some(parsed(&format!("docker://{rest}")));
    }
    let other = ["docker://", "oci:", "oci-archive:"];
    (other.iter().any(|prefix| reference.starts_with(prefix))).then(|| parsed(reference))
}

impl Component {
    /// Reads a component.
    ///
    /// # Errors
    /// When it is not there, or too large.
    pub(crate) fn fetch(reference: &str, access: &Access) -> Result<Self, CliError> {
        if builtin::all().iter().any(|b| b.name == reference) && is_builtin(reference) {
            return Err(CliError::usage(format!(
                "policy {reference} is built in, and no component; a file of that name is ./{reference}"
            )));
        }
        let bytes = match transport(reference) {
            Some(transport) => pulled(&transport?, reference, access)?,
            None => read(reference)?,
        };
        Ok(Self {
            reference: reference.to_owned(),
            digest: Digest::sha256_of(&bytes),
            bytes,
        })
    }
}

fn read(path: &str) -> Result<Vec<u8>, CliError> {
    let file = fs::File::open(path).map_err(CliError::io("read the policy", path))?;
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(CliError::io("read the policy", path))?;
    if bytes.len() as u64 > LARGEST {
        return Err(CliError::failed(format!(
            "the policy {path} has more than {LARGEST} bytes"
        )));
    }
    Ok(bytes)
}

fn pulled(transport: &Transport, reference: &str, access: &Access) -> Result<Vec<u8>, CliError> {
    let no_policy = |why: &str| CliError::failed(format!("{reference} holds no policy: {why}"));
    let source: Box<dyn Source> = transport
        .open(access)?
        .ok_or_else(|| no_policy("a policy is not read from a stream"))?;
    let Index { manifests, .. } = source.index()?;
    let tag = transport.tag();
    let entry = manifests
        .iter()
        .find(|entry| tag.is_none() || entry.tag() == tag || manifests.len() == 1);
    let entry = entry.ok_or_else(|| no_policy("there is no such tag"))?;
    let manifest = Manifest::parse(&source.document(entry)?);
    let manifest = manifest.map_err(|error| no_policy(&error.to_string()))?;
    let mut wasm = (manifest.layers.iter()).filter(|layer| layer.media_type == WASM);
    let (Some(layer), None) = (wasm.next(), wasm.next()) else {
        return Err(no_policy(&format!(
            "its manifest has not exactly one layer of the type {WASM}"
        )));
    };
    Ok(source.document_within(layer, LARGEST)?)
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
    let digest = sink.put(&component.bytes)?;
    let layer = Descriptor::new(WASM, digest, component.bytes.len() as u64);
    let exports: Vec<String> = (about.interfaces.iter())
        .map(|interface| {
            format!(
                "sociable:policy/{interface}@{}",
                sociable_policy_wasm::VERSION
            )
        })
        .chain([format!(
            "sociable:policy/plugin@{}",
            sociable_policy_wasm::VERSION
        )])
        .collect();
    let config = serde_json::json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest.to_string()],
        "component": {
            "exports": exports,
            "imports": [format!("sociable:policy/log@{}", sociable_policy_wasm::VERSION)],
        },
    });
    let config = config.to_string();
    sink.put(config.as_bytes())?;
    let mut manifest = Manifest::new(Descriptor::of(CONFIG, config.as_bytes()), vec![layer]);
    let mut note = |key: &str, value: &str| {
        manifest
            .annotations
            .insert(format!("org.opencontainers.image.{key}"), value.to_owned());
    };
    note("title", &about.name);
    note("version", &about.version);
    note("description", &about.summary);
    let bytes = manifest.to_bytes();
    sink.put_document(media_type::OCI_MANIFEST, &bytes)?;
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
    let update = IndexUpdate::new(descriptor.clone()).tagged(transport.tag());
    sink.finish(&update)?;
    Ok(descriptor)
}
