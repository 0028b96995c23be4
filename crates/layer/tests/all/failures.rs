//! Every failure is an error: no panic, no waiting for what never comes.

use std::io::{self, Write};

use sociable_layer::pack::SourceError;
use sociable_layer::{Limits, PackError, PackOptions, pack};
use sociable_policy::SizeSpans;
use sociable_tar::{Header, Kind, WriteError};

use crate::{Item, entries, file, noise, options, pack_items, text};

/// A disk with so much room.
pub(crate) struct Disk(pub(crate) usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pack_to_disk(items: &[Item], room: usize, jobs: usize) -> Result<(), PackError> {
    let mut planner = SizeSpans { span_size: 50_000 };
    let options = PackOptions {
        jobs,
        level: 1,
        ..options(&mut planner, 50_000)
    };
    pack(entries(items), Disk(room), options).map(drop)
}

#[test]
fn a_full_disk_is_reported_wherever_it_gets_full() {
    let items = [
        file("a", text(1, 200_000)),
        file("b", noise(2, 900_000)),
        file("c", text(3, 100_000)),
    ];
    let mut planner = SizeSpans { span_size: 50_000 };
    let mut blob = Vec::new();
    let whole = PackOptions {
        level: 1,
        ..options(&mut planner, 50_000)
    };
    pack(entries(&items), &mut blob, whole).expect("packed");
    let rooms = (0..30)
        .chain((30..blob.len()).step_by(blob.len() / 150))
        .chain(blob.len() - 30..blob.len());
    for room in rooms {
        match pack_to_disk(&items, room, 1 + room % 3) {
            Err(PackError::Write { offset, source }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                assert!(offset <= room as u64, "{offset} of {room}");
            }
            other => panic!("room for {room} bytes: {other:?}"),
        }
    }
    pack_to_disk(&items, blob.len(), 2).expect("room for all");
}

#[test]
fn a_failing_flush_is_reported() {
    struct Unflushed;
    impl Write for Unflushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let mut planner = SizeSpans::default();
    let result = pack(entries(&[]), Unflushed, options(&mut planner, 1));
    assert!(matches!(result, Err(PackError::Write { .. })));
}

#[test]
fn an_entry_that_is_not_to_be_had_ends_it_without_a_trailer() {
    let good = file("good", text(1, 2_000_000));
    let mut blob = Vec::new();
    let mut planner = SizeSpans::default();
    let list = [Ok(good.clone()), Err(SourceError::from("gone")), Ok(good)];
    let error = pack(list, &mut blob, options(&mut planner, 1)).expect_err("an error");
    assert_eq!(error.to_string(), "gone");
    let mut decoder = flate2::bufread::GzDecoder::new(&blob[..]);
    let read = io::copy(&mut decoder, &mut io::sink());
    assert!(read.is_err(), "it must not look like a layer");
}

#[test]
fn contents_must_be_what_was_announced() {
    let of = |announced| {
        let header = Header::new("f", Kind::File { size: announced });
        vec![(header, text(1, 600_000))]
    };
    assert!(matches!(
        pack_items(&of(600_001), 10_000),
        Err(PackError::Tar(WriteError::Shrank { missing: 1, .. }))
    ));
    assert!(matches!(
        pack_items(&of(599_999), 10_000),
        Err(PackError::Tar(WriteError::Grew { .. }))
    ));
    // What was empty is packed as such.
    let (packed, _) = pack_items(&of(0), 10_000).expect("packed");
    assert_eq!(packed.ztoc.entries[0].size, 0);
}

#[test]
fn a_content_that_cannot_be_read_names_its_entry() {
    struct Broken(Header);
    impl sociable_layer::pack::PackEntry for Broken {
        fn header(&self) -> &Header {
            &self.0
        }
        fn open(&self) -> Result<impl io::Read, SourceError> {
            struct Bad;
            impl io::Read for Bad {
                fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                    Err(io::Error::other("bad sector"))
                }
            }
            Ok(Bad)
        }
    }
    let entry = Broken(Header::new("some/file", Kind::File { size: 1 }));
    let mut planner = SizeSpans::default();
    let error = pack([Ok(entry)], io::sink(), options(&mut planner, 1)).expect_err("an error");
    assert!(error.to_string().contains("some/file"), "{error}");
}

#[test]
fn limits_and_levels() {
    let items = [file("a", text(1, 100_000)), file("b", "")];
    let mut planner = SizeSpans { span_size: 1000 };
    for (limits, what) in [
        (
            Limits {
                spans: 10,
                ..Limits::default()
            },
            "10 spans",
        ),
        (
            Limits {
                spans: 0,
                ..Limits::default()
            },
            "0 spans",
        ),
        (
            Limits {
                entries: 1,
                ..Limits::default()
            },
            "1 entries",
        ),
    ] {
        let options = PackOptions {
            limits,
            ..options(&mut planner, 1000)
        };
        let error = pack(entries(&items), io::sink(), options).expect_err("an error");
        assert!(matches!(error, PackError::Limit { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let options = PackOptions {
        level: 10,
        ..options(&mut planner, 1000)
    };
    let error = pack(entries(&items), io::sink(), options).expect_err("an error");
    assert!(matches!(error, PackError::Level(10)));
}

#[test]
fn a_name_that_cannot_be_written() {
    let items = [file("ok", text(1, 300_000)), file("", "")];
    let error = pack_items(&items, 1000).expect_err("an error");
    assert!(matches!(error, PackError::Tar(WriteError::Text { .. })));
}
