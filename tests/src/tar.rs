//! Tar archives, read: every entry with all that an archive says of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, in full.
    pub name: Vec<u8>,
    /// Its type flag.
    pub kind: u8,
    /// Permissions, and the bits beside them.
    pub mode: u64,
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
    /// Their names, separated by a slash.
    pub names: String,
    /// Seconds since 1970, with a fraction if there is one.
    pub mtime: String,
    /// The link's target.
    pub link: Vec<u8>,
    /// Major and minor number.
    pub device: (u64, u64),
    /// What else PAX records say: of extended attributes, above all.
    pub records: BTreeMap<String, Vec<u8>>,
    /// Its content.
    pub content: Vec<u8>,
}

/// All entries of an archive.
///
/// # Panics
/// Where it is none.
pub fn entries(tar: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut records: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut rest = tar;
    loop {
        let (header, after) = rest.split_at_checked(512).expect("a header, or the end");
        if header.iter().all(|byte| *byte == 0) {
            assert!(rest.len() >= 1024, "two empty blocks at the end");
            assert!(rest.iter().all(|byte| *byte == 0), "nothing after the end");
            return entries;
        }
        check_sum(header);
        let kind = header[156];
        let size = records.get("size").filter(|_| kind != b'x');
        let size = size.map_or_else(|| number(&header[124..136]), |size| decimal(size));
        let size = usize::try_from(size).expect("a size");
        let (content, after) = after.split_at_checked(size).expect("the whole content");
        let padding = size.next_multiple_of(512) - size;
        rest = &after[padding..];
        match kind {
            b'x' => records = parse_records(content),
            b'L' | b'K' => {
                let key = if kind == b'L' { "path" } else { "linkpath" };
                records.insert(key.to_owned(), text(content).to_vec());
            }
            _ => entries.push(entry(header, std::mem::take(&mut records), content)),
        }
    }
}

/// Writes the files of an archive into a directory: enough for an image layout.
pub fn unpack(tar: &[u8], dir: &Path) {
    for entry in entries(tar) {
        let name = str::from_utf8(&entry.name).expect("a plain name");
        let path = dir.join(name);
        if entry.kind == b'5' {
            fs::create_dir_all(path).expect("a directory");
        } else {
            fs::create_dir_all(path.parent().expect("below")).expect("a directory");
            fs::write(path, entry.content).expect("a file");
        }
    }
}

fn entry(header: &[u8], mut records: BTreeMap<String, Vec<u8>>, content: &[u8]) -> Entry {
    let mut take = |key: &str| records.remove(key);
    let or = |record: Option<Vec<u8>>, field: &[u8]| {
        record.map_or_else(|| number(field), |record| decimal(&record))
    };
    take("size");
    let name = take("path").unwrap_or_else(|| {
        let (prefix, name) = (text(&header[345..500]), text(&header[..100]));
        let slash = if prefix.is_empty() { &b""[..] } else { b"/" };
        [prefix, slash, name].concat()
    });
    let seconds = |record: Vec<u8>| String::from_utf8(record).expect("a time");
    Entry {
        name,
        kind: header[156],
        mode: number(&header[100..108]),
        uid: or(take("uid"), &header[108..116]),
        gid: or(take("gid"), &header[116..124]),
        names: [&header[265..297], &header[297..329]]
            .map(|field| String::from_utf8_lossy(text(field)).into_owned())
            .join("/"),
        mtime: take("mtime").map_or_else(|| number(&header[136..148]).to_string(), seconds),
        link: take("linkpath").unwrap_or_else(|| text(&header[157..257]).to_vec()),
        device: (number(&header[329..337]), number(&header[337..345])),
        records,
        content: content.to_vec(),
    }
}

/// What comes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn decimal(digits: &[u8]) -> u64 {
    let digits = str::from_utf8(digits).expect("digits");
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number: {digits}"))
}

/// A number in octal digits, or in GNU's base 256.
fn number(field: &[u8]) -> u64 {
    if field[0] == 0x80 {
        let bytes = field[1..].iter();
        return bytes.fold(0, |value, byte| (value << 8) | u64::from(*byte));
    }
    let digits = str::from_utf8(text(field)).expect("octal digits").trim();
    if digits.is_empty() {
        return 0;
    }
    u64::from_str_radix(digits, 8).unwrap_or_else(|_| panic!("no octal number: {digits}"))
}

fn check_sum(header: &[u8]) {
    let blank = header[..148].iter().chain(&[b' '; 8]).chain(&header[156..]);
    let sum: u64 = blank.map(|byte| u64::from(*byte)).sum();
    assert_eq!(number(&header[148..156]), sum, "a header's checksum");
}

/// Records: `LENGTH KEY=VALUE\n`, where the length counts itself.
fn parse_records(mut rest: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').expect("a length");
        let length = usize::try_from(decimal(&rest[..space])).expect("a length");
        let (record, after) = rest.split_at_checked(length).expect("a whole record");
        let record = record[space + 1..].strip_suffix(b"\n").expect("a line");
        let equals = record.iter().position(|b| *b == b'=').expect("a key");
        let key = String::from_utf8(record[..equals].to_vec()).expect("a key");
        records.insert(key, record[equals + 1..].to_vec());
        rest = after;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive;

    #[test]
    fn what_was_written_is_read() {
        let key = "SCHILY.xattr.user.a";
        let records = [("path", "long/name"), (key, "b=c"), ("mtime", "-5.25")];
        let tar = [
            archive::entry(b'0', b"file", b"", b"content"),
            archive::pax(&records),
            archive::entry(b'2', b"short", b"target", b""),
            archive::END.to_vec(),
        ];
        let found = entries(&tar.concat());
        assert_eq!(found.len(), 2);
        assert_eq!((&*found[0].name, found[0].mode), (&b"file"[..], 0o644));
        assert_eq!(found[0].content, b"content");
        assert_eq!(found[0].mtime, 0o14_000_000_000_u64.to_string());
        assert_eq!(found[1].name, b"long/name");
        assert_eq!(found[1].mtime, "-5.25");
        assert_eq!(found[1].link, b"target");
        assert_eq!(found[1].records[key], b"b=c");
    }

    #[test]
    #[should_panic(expected = "a header's checksum")]
    fn a_broken_header_is_none() {
        let mut tar = archive::entry(b'0', b"file", b"", b"");
        tar[0] = b'g';
        tar.extend(archive::END);
        entries(&tar);
    }
}
