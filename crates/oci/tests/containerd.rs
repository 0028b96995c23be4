//! Blobs in a real containerd, as far as no command of `sociable` shows them. `SOCIABLE_CONTAINERD` is its socket.

use std::io::{Read as _, Write as _};
use std::thread;

use sociable_oci::containerd::{ContainerdSink, ContainerdSource, Options};
use sociable_oci::{
    Descriptor, Digest, Error, Hashing, IndexUpdate, Manifest, Sink, Source, media_type,
};

const PLACE: &str = "example.com/blobs:1";

fn options(test: &str) -> Option<Options> {
    let Some(socket) = std::env::var_os("SOCIABLE_CONTAINERD") else {
        // Past the capture of the test runner.
        let line = format!("SKIPPED: containerd::{test}: no SOCIABLE_CONTAINERD\n");
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        return None;
    };
    Some(Options {
        address: socket.into(),
        namespace: format!("{}-{}", test.replace('_', "-"), std::process::id()),
    })
}

/// Of `size` bytes, more than are sent at once.
fn blob(byte: u8, size: usize) -> (Vec<u8>, Digest, u64) {
    let bytes = vec![byte; size];
    let digest = Digest::sha256_of(&bytes);
    (bytes, digest, size as u64)
}

#[test]
fn writers() {
    let Some(options) = options("writers") else {
        return;
    };
    let sink = ContainerdSink::create(PLACE, &options).unwrap();

    // containerd hashes for itself.
    let wrong = Digest::sha256_of(b"other");
    let mut writer = sink.begin_with(Some((&wrong, 5)), Hashing::Caller).unwrap();
    writer.write_all(b"hello").unwrap();
    let error = writer.commit_trusted(&wrong, 5).unwrap_err();
    assert!(matches!(error, Error::Verify { .. }), "{error}");
    assert!(!sink.has(&wrong).unwrap());

    // A digest that nobody knows before the end; then one that is there already.
    let (bytes, digest, size) = blob(7, 3_500_000);
    for known in [None, None, Some((&digest, size))] {
        let mut writer = sink.begin(known).unwrap();
        writer.write_all(&bytes).unwrap();
        assert_eq!(writer.commit(None).unwrap(), (digest, size));
    }

    // Given up half-way, and begun anew.
    let (bytes, digest, size) = blob(8, 3_500_000);
    let mut writer = sink.begin(Some((&digest, size))).unwrap();
    writer.write_all(&bytes[..2_000_000]).unwrap();
    drop(writer);
    assert!(!sink.has(&digest).unwrap());
    let mut writer = sink.begin(Some((&digest, size))).unwrap();
    writer.write_all(&bytes).unwrap();
    writer.commit(None).unwrap();
    assert!(sink.has(&digest).unwrap());

    // Several threads with the same blob.
    let (bytes, digest, size) = blob(9, 2_500_000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut writer = sink.begin(Some((&digest, size))).unwrap();
                writer.write_all(&bytes).unwrap();
                writer.commit(None).unwrap();
            });
        }
    });
    assert!(sink.has(&digest).unwrap());

    // An empty blob, and an image that is not there.
    assert_eq!(sink.put(b"").unwrap(), Digest::sha256_of(b""));
    let image = Descriptor::new(media_type::OCI_MANIFEST, wrong, 5);
    let error = Box::new(sink).finish(&IndexUpdate::new(image)).unwrap_err();
    assert!(matches!(error, Error::NoBlob { .. }), "{error}");
    assert!(ContainerdSource::open(PLACE, &options).is_err());
}

#[test]
fn ranges() {
    let Some(options) = options("ranges") else {
        return;
    };
    let sink = ContainerdSink::create(PLACE, &options).unwrap();
    let (mut bytes, ..) = blob(1, 3_500_000);
    for (byte, number) in bytes.iter_mut().zip(0_u32..) {
        *byte = number.to_le_bytes()[1];
    }
    let layer = Descriptor::of("application/octet-stream", &bytes);
    let empty = Descriptor::of("application/octet-stream", b"");
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let manifest = Manifest::new(config, vec![layer.clone(), empty.clone()]).to_bytes();
    for blob in [&b"{}"[..], &bytes, b"", &manifest] {
        sink.put(blob).unwrap();
    }
    let image = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    Box::new(sink)
        .finish(&IndexUpdate::new(image.clone()).tagged(Some("ignored")))
        .unwrap();

    let source = ContainerdSource::open(PLACE, &options).unwrap();
    assert_eq!(source.index().unwrap().manifests, [image]);
    for (offset, len) in [
        (0, 10),
        (100, 2_000_000),
        (3_499_990, 10),
        (3_500_000, 0),
        (0, 3_500_000),
    ] {
        let at = usize::try_from(offset).unwrap();
        let part = source.blob_at(&layer, offset, len).unwrap();
        assert!(part == bytes[at..at + len], "{offset} {len}");
    }
    for (offset, len) in [(3_499_990, 11), (3_500_001, 0), (u64::MAX, 1)] {
        let error = source.blob_at(&layer, offset, len).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    }
    let mut read = Vec::new();
    source.blob(&empty).unwrap().read_to_end(&mut read).unwrap();
    assert!(read.is_empty());
    // Begun and not read on, beside one that is.
    let mut begun: Vec<_> = (0..8).map(|_| source.blob(&layer).unwrap()).collect();
    for reader in &mut begun {
        reader.read_exact(&mut [0; 10]).unwrap();
    }
    source.blob(&layer).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    let missing = Descriptor::of("application/octet-stream", b"missing");
    let error = source.blob(&missing).map(drop).unwrap_err();
    assert!(matches!(error, Error::NoBlob { .. }), "{error}");
}
