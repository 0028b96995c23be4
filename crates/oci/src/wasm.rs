//! WebAssembly components as artifacts: a manifest with one layer that is the component, and a config that lists what it imports and
//! exports. It is the layout of the Wasm OCI artifact (CNCF, TAG Runtime) that `wkg oci push` writes and `wkg oci pull` reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::document::go_bytes;
use crate::error::{Error, Result};
use crate::{
    Descriptor, Digest, IndexUpdate, Manifest, Selection, Sink, Source, media_type, select,
};

/// Media type of a component's config.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of a component.
pub const COMPONENT: &str = "application/wasm";
/// No component has more bytes.
pub const LARGEST: u64 = 64 << 20;

/// What a component's config says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    created: String,
    architecture: String,
    os: String,
    layer_digests: Vec<Digest>,
    /// Its interfaces.
    pub component: Interfaces,
}

/// Interfaces, as `PACKAGE/INTERFACE@VERSION`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// Those that it has.
    pub exports: Vec<String>,
    /// Those that it needs.
    pub imports: Vec<String>,
}

/// Reads the component that an image layout or a repository has under `tag`; without one there must be only one.
///
/// # Errors
/// [`Error::NoComponent`], where something else is there, and the source's.
pub fn read(source: &dyn Source, tag: Option<&str>) -> Result<Vec<u8>> {
    source.document_within(&find(source, tag)?.layer, LARGEST)
}

/// A component that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// The component.
    pub layer: Descriptor,
}

/// As [`read`], but finds it only.
///
/// # Errors
/// As [`read`].
pub fn find(source: &dyn Source, tag: Option<&str>) -> Result<Found> {
    let none = |why: String| Error::NoComponent {
        place: source.name(),
        why,
    };
    let entry = match select(&source.index()?, tag).map_err(|error| none(error.to_string()))? {
        Selection::One(entry) => entry,
        Selection::Flat(_) => {
            return Err(none("there are several; name one by its tag".to_owned()));
        }
    };
    let manifest = Manifest::parse(&source.document(&entry)?);
    let manifest = manifest.map_err(|error| none(error.to_string()))?;
    let mut components = (manifest.layers.iter()).filter(|layer| layer.media_type == COMPONENT);
    let (Some(layer), None) = (components.next(), components.next()) else {
        return Err(none(format!(
            "its manifest has not exactly one layer of the type {COMPONENT}"
        )));
    };
    Ok(Found {
        manifest: entry.digest,
        layer: layer.clone(),
    })
}

/// Reads a component from a file.
///
/// # Errors
/// The file's; it is also one to have more than [`LARGEST`] bytes.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a component has at most {LARGEST} bytes"),
        ));
    }
    Ok(bytes)
}

/// Writes a component, and gives its manifest's descriptor.
///
/// # Errors
/// The sink's.
pub fn write(
    sink: Box<dyn Sink>,
    component: &[u8],
    interfaces: Interfaces,
    annotations: BTreeMap<String, String>,
    tag: Option<&str>,
) -> Result<Descriptor> {
    let digest = sink.put(component)?;
    let layer = Descriptor::new(COMPONENT, digest, component.len() as u64);
    let config = Config {
        // `wkg` wants a time; the same component has the same digest at any.
        created: "1970-01-01T00:00:00Z".to_owned(),
        architecture: "wasm".to_owned(),
        os: "wasip2".to_owned(),
        layer_digests: vec![digest],
        component: interfaces,
    };
    let config = go_bytes(&config);
    sink.put(&config)?;
    let mut manifest = Manifest::new(Descriptor::of(CONFIG, &config), vec![layer]);
    manifest.annotations = annotations;
    let bytes = manifest.to_bytes();
    sink.put_document(media_type::OCI_MANIFEST, &bytes)?;
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
    sink.finish(&IndexUpdate::new(descriptor.clone()).tagged(tag))?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci_dir::{OciDir, OciDirSink};

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("layout");
        let sink = || Box::new(OciDirSink::create(&place).unwrap());
        let interfaces = Interfaces::default();
        let none = BTreeMap::new();
        write(sink(), b"\0asm one", interfaces, none, Some("1")).unwrap();
        let image = b"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":0},\"layers\":[]}";
        let other = sink();
        other.put_document(media_type::OCI_MANIFEST, image).unwrap();
        let entry = Descriptor::of(media_type::OCI_MANIFEST, image);
        let update = IndexUpdate::new(entry).tagged(Some("2"));
        (other as Box<dyn Sink>).finish(&update).unwrap();
        let source = OciDir::open(&place).unwrap();
        assert_eq!(read(&source, Some("1")).unwrap(), b"\0asm one");
        for tag in [Some("2"), Some("3"), None] {
            assert!(matches!(read(&source, tag), Err(Error::NoComponent { .. })));
        }
    }

    #[test]
    fn a_tag_that_is_not_there_is_not_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let sink = Box::new(OciDirSink::create(dir.path()).unwrap());
        let none = BTreeMap::new();
        write(sink, b"\0asm", Interfaces::default(), none, Some("1")).unwrap();
        let source = OciDir::open(dir.path()).unwrap();
        assert!(read(&source, Some("2")).is_err());
        assert_eq!(read(&source, None).unwrap(), b"\0asm");
    }
}
