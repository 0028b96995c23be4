//! What is written is read back, and what was said about it was true.

use std::collections::BTreeMap;
use std::io::Write;

use bstr::BString;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sociable_tar::{Entry, Header, Kind, TarWriter, Time};

use crate::{read, read_whole};

/// Bytes without NUL, UTF-8 or not, of lengths around those of the fields.
fn text(most: usize) -> impl Strategy<Value = BString> {
    let length = prop_oneof![1..12usize, 90..110usize, 150..260usize, 1..most.max(2)]
        .prop_map(move |length| length.min(most));
    let byte = prop_oneof![Just(b'/'), b'a'..=b'e', b'a'..=b'z', 1..=255u8];
    let any = length.clone().prop_flat_map(move |length| {
        proptest::collection::vec(byte.clone(), length).prop_map(BString::from)
    });
    // Paths that can be split.
    let path = (length, 1..60usize).prop_map(|(length, every)| {
        (0..length)
            .map(|at| if at % every == every - 1 { b'/' } else { b'p' })
            .collect::<Vec<_>>()
            .into()
    });
    prop_oneof![any, path]
}

fn kind() -> impl Strategy<Value = Kind> {
    let number = prop_oneof![0..300u32, 0..(1u32 << 21)];
    let pair = (number.clone(), number);
    prop_oneof![
        3 => prop_oneof![0..3u64, 500..520u64, 0..5000u64].prop_map(|size| Kind::File { size }),
        1 => text(300).prop_map(|target| Kind::HardLink { target }),
        1 => text(5000).prop_map(|target| Kind::Symlink { target }),
        1 => pair.clone().prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        1 => pair.prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
        2 => Just(Kind::Directory),
        1 => Just(Kind::Fifo),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    let secs = prop_oneof![
        0..2_000_000_000i64,
        -3i64..3,
        any::<i64>(),
        (1 << 33) - 2..(1i64 << 33) + 2
    ];
    let nanos = prop_oneof![3 => Just(0), 1 => 0..1_000_000_000u32, 1 => Just(500_000_000)];
    (secs, nanos).prop_map(|(secs, nanos)| Time { secs, nanos })
}

fn xattrs() -> impl Strategy<Value = BTreeMap<BString, BString>> {
    let key = "(user|trusted)\\.[a-zé. ]{1,8}".prop_map(BString::from);
    let value = proptest::collection::vec(any::<u8>(), 0..120).prop_map(BString::from);
    prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => proptest::collection::btree_map(key, value, 0..4),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    let owner = prop_oneof![0..2000u32, (1 << 21) - 2..(1u32 << 21) + 2, any::<u32>()];
    let owner_name = prop_oneof![3 => Just(BString::default()), 1 => text(40)];
    let names = (text(6000), owner_name.clone(), owner_name);
    (
        names,
        kind(),
        0..=0o7777u32,
        owner.clone(),
        owner,
        time(),
        xattrs(),
    )
        .prop_map(
            |((mut name, uname, gname), kind, mode, uid, gid, mtime, xattrs)| {
                if kind != Kind::Directory {
                    while name.last() == Some(&b'/') {
                        name.pop();
                    }
                }
                if name.is_empty() {
                    name = "n".into();
                }
                Header {
                    name,
                    kind,
                    mode,
                    uid,
                    gid,
                    uname,
                    gname,
                    mtime,
                    xattrs,
                }
            },
        )
}

/// Writes an archive, data included.
fn write(headers: &[Header]) -> (Vec<u8>, Vec<Entry>) {
    let mut writer = TarWriter::new(Vec::new());
    let mut entries = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        let (entry, mut data) = writer.entry(header).expect("header");
        let size = usize::try_from(header.data_size()).expect("small");
        let content = vec![u8::try_from(index & 0x7f).expect("small"); size];
        if index % 2 == 0 {
            data.copy_from(&mut &content[..]).expect("data");
        } else {
            data.write_all(&content).expect("data");
        }
        entries.push(entry);
    }
    (writer.finish().expect("end"), entries)
}

/// Archives for others to read.
pub(crate) fn samples(count: usize) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let headers = proptest::collection::vec(header(), 0..6);
    (0..count)
        .map(|_| write(&headers.new_tree(&mut runner).expect("headers").current()).0)
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        headers in proptest::collection::vec(header(), 0..8),
        pieces in proptest::collection::vec(1..2000usize, 1..20),
    ) {
        let (archive, written) = write(&headers);
        let mut pieces = pieces.iter().copied().cycle();
        let (entries, end) = read(&archive, || pieces.next().unwrap_or(1));
        prop_assert_eq!(end, Ok(archive.len() as u64));
        prop_assert_eq!(&entries, &written);
        prop_assert_eq!(write(&headers).0, archive);
        for (header, entry) in headers.iter().zip(&entries) {
            let fits = header.name.len() <= 99
                && header.xattrs.is_empty()
                && header.uname.len().max(header.gname.len()) <= 32
                && header.mtime.nanos == 0
                && (0..1 << 33).contains(&header.mtime.secs)
                && header.uid.max(header.gid) < 1 << 21
                && entry.linkname.len() <= 100;
            if fits {
                prop_assert_eq!(entry.data_offset, entry.header_offset + 512);
                prop_assert!(entry.pax.is_empty());
            }
        }
    }
}

#[test]
fn a_name_of_any_length_is_read_back() {
    for length in (1..700).chain([4095, 4096, 65_536]) {
        for separator in [usize::MAX, 7, 100, 101] {
            let name: Vec<u8> = (1..=length)
                .map(|at| {
                    if at % separator == 0 && at != length {
                        b'/'
                    } else {
                        b'n'
                    }
                })
                .collect();
            let headers = [
                Header::new(name.clone(), Kind::Directory),
                Header::new(name, Kind::File { size: 1 }),
            ];
            let (archive, written) = write(&headers);
            assert_eq!(read_whole(&archive), (written, Ok(archive.len() as u64)));
        }
    }
}

#[test]
fn large_sizes_are_read_back() {
    for size in [(1 << 33) - 1, 1 << 33, i64::MAX as u64] {
        let header = Header::new("large", Kind::File { size });
        let (bytes, entry) = header.encode(0).expect("header");
        let (entries, end) = read_whole(&bytes);
        assert_eq!(entries, [entry]);
        assert_eq!(entries[0].size.cast_unsigned(), size);
        assert_eq!(entries[0].pax.is_empty(), size < 1 << 33);
        assert!(end.is_err(), "its data are missing");
    }
}
