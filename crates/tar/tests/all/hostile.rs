//! No bytes make the reader panic, and how they arrive makes no difference.

use proptest::prelude::*;
use sociable_tar::{Limits, Reader, TarErrorKind};

use crate::generate::{self, Random};
use crate::{read, read_whole};

#[test]
fn byte_by_byte_is_the_same_as_whole() {
    let mut random = Random::new(3);
    for _ in 0..300 {
        let mut archive = generate::archive(&mut random);
        if random.once_in(2) {
            generate::mutate(&mut random, &mut archive);
        }
        assert_eq!(read(&archive, || 1), read_whole(&archive));
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    let mut random = Random::new(4);
    for _ in 0..6 {
        let mut archive = generate::archive(&mut random);
        archive.truncate(4096);
        for at in 0..archive.len() {
            for bit in 0..8 {
                archive[at] ^= 1 << bit;
                let _verdict = read_whole(&archive);
                archive[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn limits_are_kept() {
    let mut random = Random::new(5);
    let archive = loop {
        let archive = generate::archive(&mut random);
        let (entries, end) = read_whole(&archive);
        if entries.len() == 4 && end.is_ok() {
            break archive;
        }
    };
    let read = |limits| {
        let mut count = 0;
        let mut reader = Reader::new(limits);
        let result = reader.feed(&archive, &mut |_| count += 1);
        (count, result.map_err(|error| error.kind))
    };
    let default = Limits::default();
    assert_eq!(read(default), (4, Ok(())));
    assert_eq!(
        read(Limits {
            entries: 4,
            ..default
        }),
        (4, Ok(()))
    );
    assert_eq!(
        read(Limits {
            entries: 3,
            ..default
        }),
        (3, Err(TarErrorKind::TooManyEntries(3)))
    );
    let limited = Limits {
        metadata: 1,
        ..default
    };
    assert_eq!(read(limited).1, Err(TarErrorKind::TooMuchMetadata(1)));
}

#[test]
fn errors_say_where() {
    let mut random = Random::new(6);
    let mut archive = Vec::new();
    for _ in 0..3 {
        archive.extend(loop {
            let block = generate::header(&mut random, b'5', 0);
            if read_whole(&block).1.is_ok() {
                break block;
            }
        });
    }
    archive[2 * 512..][100..108].copy_from_slice(b"no mode\0");
    let block = &mut archive[2 * 512..];
    generate::fix_checksum(block, false);
    let (entries, end) = read_whole(&archive);
    let error = end.expect_err("no number");
    assert_eq!((entries.len(), error.offset), (2, 1024));
    assert_eq!(error.kind, TarErrorKind::Number("mode"));
    assert!(error.name.is_some());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let _verdict = read_whole(&bytes);
    }
}
