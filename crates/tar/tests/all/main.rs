//! All integration tests of the crate, in one binary.

#[cfg(target_os = "linux")]
mod diff;
mod differential;
mod generate;
mod go;
mod hostile;
mod roundtrip;
#[cfg(target_os = "linux")]
mod walk;

use sociable_tar::{Entry, Limits, Reader, TarError};

/// Everything a reader says about an archive.
type Verdict = (Vec<Entry>, Result<u64, TarError>);

/// Feeds an archive in pieces, whose sizes `piece` gives, and checks what holds for any archive.
fn read(archive: &[u8], mut piece: impl FnMut() -> usize) -> Verdict {
    let mut reader = Reader::new(Limits::default());
    let mut entries = Vec::new();
    let mut rest = archive;
    let mut result = Ok(0);
    while !rest.is_empty() && result.is_ok() {
        let (bytes, after) = rest.split_at(piece().clamp(1, rest.len()));
        rest = after;
        result = reader
            .feed(bytes, &mut |entry| entries.push(entry))
            .map(|()| 0);
    }
    let result = result.and_then(|_| reader.finish());
    assert_eq!(reader.finish(), result, "the same twice");
    check_positions(&entries);
    (entries, result)
}

fn read_whole(archive: &[u8]) -> Verdict {
    read(archive, || usize::MAX)
}

/// Each header is where the data before it end.
fn check_positions(entries: &[Entry]) {
    let mut next = 0;
    for entry in entries {
        assert_eq!(entry.header_offset, next, "{entry:?}");
        assert!(entry.data_offset >= entry.header_offset + 512, "{entry:?}");
        assert!(entry.offset_after_header >= entry.data_offset, "{entry:?}");
        assert!(
            entry.offset_after_header <= entry.data_offset + entry.stored_size,
            "{entry:?}"
        );
        next = (entry.data_offset + entry.stored_size).next_multiple_of(512);
    }
}
