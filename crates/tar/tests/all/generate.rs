//! Random archives: well-formed ones of every dialect, and others.
//!
//! Headers are put together here from bytes, not by the crate's writer, so that they can be wrong
//! in every way.

/// A small random number generator (splitmix64): the same numbers everywhere for a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

pub(crate) const BLOCK: usize = 512;

/// Numeric fields of a header: offset, length.
const NUMBERS: &[(usize, usize)] = &[
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (148, 8),
    (329, 8),
    (337, 8),
    (345, 12),
    (357, 12),
    (386, 12),
    (398, 12),
    (410, 12),
    (476, 12),
    (483, 12),
    (488, 12),
];

/// Makes the checksum of a block right.
pub(crate) fn fix_checksum(block: &mut [u8], signed: bool) {
    block[148..156].fill(b' ');
    let unsigned: i64 = block.iter().map(|&byte| i64::from(byte)).sum();
    let high: i64 = block
        .iter()
        .filter(|&&byte| byte >= 0x80)
        .count()
        .try_into()
        .expect("few");
    let sum = if signed {
        unsigned - 256 * high
    } else {
        unsigned
    };
    if let Ok(sum) = u64::try_from(sum) {
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Writes a number into a field, in one of the ways that are around.
fn put_number(random: &mut Random, field: &mut [u8], value: i64) {
    let length = field.len();
    let Ok(unsigned) = u64::try_from(value) else {
        return put_base256(field, value);
    };
    let text = match random.below(12) {
        0 => return put_base256(field, value),
        1 => format!("{unsigned:o}"),
        2 => format!("  {unsigned:o} "),
        3 => format!("\0{unsigned:o}"),
        4 => format!("{unsigned:o}\0 7"),
        5 => format!("{unsigned:0length$o}"),
        6 => format!("{unsigned:>width$o}\0", width = length - 1),
        _ => format!("{unsigned:0width$o}\0", width = length - 1),
    };
    if text.len() > length {
        return put_base256(field, value);
    }
    field.fill(if random.once_in(8) { b' ' } else { 0 });
    field[..text.len()].copy_from_slice(text.as_bytes());
}

fn put_base256(field: &mut [u8], value: i64) {
    let fill = if value < 0 { 0xff } else { 0 };
    let bytes = value.to_be_bytes();
    let length = field.len();
    field.fill(fill);
    let kept = length.min(8);
    field[length - kept..].copy_from_slice(&bytes[8 - kept..]);
    field[0] |= 0x80;
}

/// Bytes that may look like a number, or not.
fn junk_number(random: &mut Random, field: &mut [u8]) {
    match random.below(5) {
        0 => field.fill_with(|| random.byte()),
        1 => {
            let value = (random.next() >> random.below(64)).cast_signed();
            put_base256(
                field,
                if random.once_in(2) {
                    value
                } else {
                    value.wrapping_neg()
                },
            );
        }
        2 => field.fill_with(|| random.pick(b"01234567 \0\0")),
        3 => field.fill_with(|| random.pick(b"0189-+ \0\x80\xff")),
        _ => {
            let value = (random.next() >> random.below(64)).cast_signed();
            put_number(random, field, value);
        }
    }
}

fn text(random: &mut Random, most: usize) -> Vec<u8> {
    let length = if random.once_in(6) {
        most
    } else {
        random.below(most.min(20) + 1)
    };
    let plain = random.below(5) > 0;
    let mut text: Vec<u8> = (0..length)
        .map(|_| {
            if plain {
                random.pick(b"abcxyz019._-/")
            } else {
                random.byte()
            }
        })
        .collect();
    if random.once_in(6) && !text.is_empty() {
        *text.last_mut().expect("not empty") = b'/';
    }
    text
}

/// A header of a random dialect.
pub(crate) fn header(random: &mut Random, typeflag: u8, size: i64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |random: &mut Random, at: usize, most: usize| {
        let text = text(random, most);
        block[at..at + text.len()].copy_from_slice(&text);
    };
    put(random, 0, 100);
    if random.once_in(3) {
        put(random, 157, 100);
    }
    let dialect = random.below(8);
    if dialect > 0 {
        put(random, 265, 32);
        put(random, 297, 32);
    }
    match dialect {
        1..=3 if random.once_in(3) => put(random, 345, 155),
        4 if random.once_in(2) => put(random, 345, 131),
        _ => {}
    }
    for (at, most) in [
        (100, 0o7777),
        (108, 3_000_000),
        (116, 3_000_000),
        (136, 1 << 34),
    ] {
        let value = i64::try_from(random.next() % most).expect("small");
        let value = if random.once_in(20) { -value } else { value };
        let length = if at == 136 { 12 } else { 8 };
        put_number(random, &mut block[at..at + length], value);
    }
    put_number(random, &mut block[124..136], size);
    block[156] = typeflag;
    if dialect > 0 && random.once_in(2) {
        for at in [329, 337] {
            let value = random.below(4096).try_into().expect("small");
            put_number(random, &mut block[at..at + 8], value);
        }
    }
    match dialect {
        1..=3 => block[257..265].copy_from_slice(b"ustar\x0000"),
        4 => {
            block[257..265].copy_from_slice(b"ustar\x0000");
            block[508..].copy_from_slice(b"tar\0");
            for at in [476, 488] {
                put_number(random, &mut block[at..at + 12], 77);
            }
        }
        5..=6 => {
            block[257..265].copy_from_slice(b"ustar  \0");
            if random.once_in(3) {
                for at in [345, 357] {
                    junk_number(random, &mut block[at..at + 12]);
                }
            }
            if random.once_in(4) {
                // As old versions of Go wrote it.
                block[345..500].fill(0);
                block[345..359].copy_from_slice(b"some/prefix/xy");
            }
        }
        7 => block[257..265].copy_from_slice(random.pick(&[
            b"ustar\0  ",
            b"ustar 00",
            b"Ustar\x0000",
        ])),
        _ => {}
    }
    if random.once_in(40) {
        let (at, length) = random.pick(NUMBERS);
        junk_number(random, &mut block[at..at + length]);
    }
    let signed = random.once_in(10);
    fix_checksum(&mut block, signed);
    block
}

fn decimal(random: &mut Random) -> String {
    match random.below(12) {
        0 => String::new(),
        1 => "-1".into(),
        2 => "+12".into(),
        3 => i64::MAX.to_string(),
        4 => "9223372036854775808".into(),
        5 => "1x".into(),
        6 => "007".into(),
        _ => random.below(3000).to_string(),
    }
}

fn time(random: &mut Random) -> String {
    match random.below(10) {
        0 => String::new(),
        1 => ".5".into(),
        2 => "1.5x".into(),
        3 => "-0.25".into(),
        4 => "12.".into(),
        5 => format!("-{}.{}", random.below(99), random.below(1 << 40)),
        6 => decimal(random),
        _ => format!(
            "{}.{:09}",
            random.below(1 << 31),
            random.below(1_000_000_000)
        ),
    }
}

pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut length = key.len() + value.len() + 4;
    while length != key.len() + value.len() + 3 + length.to_string().len() {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Fragments, mostly in order and within the size, which comes with them.
fn fragments(random: &mut Random, most: usize) -> (Vec<(i64, i64)>, i64) {
    let mut end = 0;
    let mut list = Vec::new();
    for _ in 0..random.below(most) {
        let gap = i64::try_from(random.below(700)).expect("small") - i64::from(random.once_in(60));
        let length =
            i64::try_from(random.below(300)).expect("small") - i64::from(random.once_in(60));
        list.push((end + gap, length));
        end += gap + length;
    }
    let size = match random.below(12) {
        0 => end - 1,
        1 => i64::MAX,
        _ => end + i64::try_from(random.below(100)).expect("small"),
    };
    (list, size)
}

fn stored(fragments: &[(i64, i64)]) -> usize {
    fragments
        .iter()
        .map(|(_, length)| usize::try_from(*length).unwrap_or(0))
        .sum()
}

type Record = (Vec<u8>, Vec<u8>);

/// The records of a PAX sparse file of any version, and its data.
fn sparse_records(random: &mut Random) -> (Vec<Record>, Vec<u8>) {
    let mut records: Vec<Record> = Vec::new();
    let mut add = |key: &str, value: &[u8]| records.push((key.into(), value.to_vec()));
    let version = random.below(4);
    let most = if random.once_in(6) { 60 } else { 6 };
    let (list, size) = fragments(random, most);
    let numbers = || list.iter().flat_map(|(offset, length)| [*offset, *length]);
    let size_key = random.pick(&["GNU.sparse.size", "GNU.sparse.realsize"]);
    let mut size = size.to_string();
    if random.once_in(15) {
        size = decimal(random);
    }
    add(size_key, size.as_bytes());
    if random.once_in(3) {
        add("GNU.sparse.name", &text(random, 30));
    }
    let mut payload = vec![b'D'; stored(&list)];
    match version {
        0 => {
            let count = if random.once_in(10) {
                decimal(random)
            } else {
                list.len().to_string()
            };
            add("GNU.sparse.numblocks", count.as_bytes());
            for (offset, length) in &list {
                add("GNU.sparse.offset", offset.to_string().as_bytes());
                if random.below(40) > 0 {
                    add("GNU.sparse.numbytes", length.to_string().as_bytes());
                }
            }
        }
        1 => {
            let count = if random.once_in(10) {
                decimal(random)
            } else {
                list.len().to_string()
            };
            add("GNU.sparse.numblocks", count.as_bytes());
            let map = numbers()
                .map(|n| n.to_string())
                .collect::<Vec<_>>()
                .join(",");
            add("GNU.sparse.map", map.as_bytes());
            if random.once_in(3) {
                add("GNU.sparse.major", b"0");
                add("GNU.sparse.minor", random.pick(&[b"0", b"1", b"2"]));
            }
        }
        _ => {
            add("GNU.sparse.major", b"1");
            add(
                "GNU.sparse.minor",
                if random.once_in(20) { b"1" } else { b"0" },
            );
            let count = if random.once_in(10) {
                decimal(random)
            } else {
                list.len().to_string()
            };
            let mut map = format!("{count}\n");
            for number in numbers() {
                let number = if random.once_in(60) {
                    decimal(random)
                } else {
                    number.to_string()
                };
                map.push_str(&number);
                map.push('\n');
            }
            let mut map = map.into_bytes();
            if random.below(10) > 0 {
                map.resize(map.len().next_multiple_of(BLOCK), 0);
            }
            map.append(&mut payload);
            payload = map;
        }
    }
    (records, payload)
}

/// PAX records, and data that go with them.
fn records(random: &mut Random) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut records: Vec<Record> = Vec::new();
    let mut data = None;
    let mut add = |key: &str, value: &[u8]| records.push((key.into(), value.to_vec()));
    for _ in 0..random.below(4) {
        let key = random.pick(&[
            "path",
            "linkpath",
            "uname",
            "gname",
            "uid",
            "gid",
            "mtime",
            "atime",
            "ctime",
            "SCHILY.xattr.user.a",
            "SCHILY.xattr.security.capability",
            "comment",
            "k",
            "GNU.sparse.name",
        ]);
        let value = match key {
            "uid" | "gid" => decimal(random).into_bytes(),
            "mtime" | "atime" | "ctime" => time(random).into_bytes(),
            _ => {
                let mut value = text(random, 300);
                if random.below(8) > 0 {
                    value.retain(|byte| *byte != 0);
                }
                value
            }
        };
        // Bad numbers make an end of the archive, so most must be good.
        let value = if matches!(key, "uid" | "gid") && random.below(4) > 0 {
            b"12".to_vec()
        } else {
            value
        };
        add(key, &value);
    }
    if random.once_in(8) {
        let size = random.below(1500);
        add("size", size.to_string().as_bytes());
        data = Some(vec![b'd'; size]);
    }
    if random.below(9) < 4 {
        let (sparse, payload) = sparse_records(random);
        records.extend(sparse);
        data = Some(payload);
    }
    let mut bytes: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect();
    if random.once_in(12) {
        let junk: &[&[u8]] = &[
            b"6 =v\n",
            b"5 k=\n",
            b"7 a=b\n",
            b"x",
            b"8 k=v\n\n\n",
            b"+7 a=b\n",
            b"9 path=\0\n",
            b"7 \0=bc\n",
            b"\0",
            b" 6 k=\n",
            b"0 k=v\n",
            b"-6 k=v\n",
            b"4 k=",
            b"6 k=\0\n",
            b"25 GNU.sparse.numbytes=7\n",
            b"10 a=b\nc=\n",
        ];
        bytes.extend_from_slice(random.pick(junk));
    }
    if random.once_in(50) && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] = random.byte();
    }
    (bytes, data)
}

fn append(archive: &mut Vec<u8>, header: &[u8], data: &[u8]) {
    archive.extend_from_slice(header);
    archive.extend_from_slice(data);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

fn size_of(data: &[u8]) -> i64 {
    data.len().try_into().expect("small")
}

/// A GNU sparse file, its map in the header and blocks after it.
fn gnu_sparse(random: &mut Random, archive: &mut Vec<u8>) {
    let most = if random.once_in(2) { 60 } else { 5 };
    let (list, size) = fragments(random, most);
    let data = vec![b'S'; stored(&list)];
    let mut block = header(random, b'S', size_of(&data));
    if random.below(12) > 0 {
        block[257..265].copy_from_slice(b"ustar  \0");
    }
    block[345..500].fill(0);
    put_number(random, &mut block[483..495], size);
    let mut rest = &list[..];
    let mut fill = |random: &mut Random, slots: &mut [u8], count: usize| {
        // Some blocks hold fewer than they could.
        let count = if random.once_in(6) {
            random.below(count + 1)
        } else {
            count
        };
        let (now, later) = rest.split_at(rest.len().min(count));
        rest = later;
        for (slot, (offset, length)) in slots.chunks_exact_mut(24).zip(now) {
            put_number(random, &mut slot[..12], *offset);
            put_number(random, &mut slot[12..], *length);
            if slot[0] == 0 && random.below(4) > 0 {
                slot[0] = b'0';
            }
        }
        let more = if random.once_in(40) {
            rest.is_empty()
        } else {
            !rest.is_empty()
        };
        slots[slots.len() / 24 * 24] = u8::from(more);
        more
    };
    let mut more = fill(random, &mut block[386..483], 4);
    let signed = random.once_in(10);
    fix_checksum(&mut block, signed);
    archive.extend_from_slice(&block);
    while more {
        let mut block = vec![0; BLOCK];
        more = fill(random, &mut block, 21);
        archive.extend_from_slice(&block);
    }
    append(archive, &[], &data);
}

/// A random archive, mostly well-formed.
pub(crate) fn archive(random: &mut Random) -> Vec<u8> {
    let mut archive = Vec::new();
    for _ in 0..random.below(6) {
        let mut data = None;
        for _ in 0..[0, 0, 1, 1, 1, 2, 3][random.below(7)] {
            match random.below(10) {
                0 | 1 => {
                    let flag = random.pick(b"LK");
                    let mut name = text(random, 400);
                    name.push(0);
                    append(&mut archive, &header(random, flag, size_of(&name)), &name);
                }
                kind => {
                    let flag = if kind == 2 { b'g' } else { b'x' };
                    let (records, with) = records(random);
                    if flag == b'x' {
                        data = with;
                    }
                    append(
                        &mut archive,
                        &header(random, flag, size_of(&records)),
                        &records,
                    );
                }
            }
        }
        if random.once_in(8) {
            gnu_sparse(random, &mut archive);
            continue;
        }
        let flag = match data {
            Some(_) if random.below(10) > 0 => random.pick(b"000\x007"),
            _ => random.pick(b"000\0\0\x001234567VMADNX\xff"),
        };
        let mut data = data.unwrap_or_else(|| vec![b'd'; random.below(1400)]);
        let mut size = size_of(&data);
        if matches!(flag, b'1'..=b'6') {
            data.clear();
            if random.once_in(2) {
                size = 0;
            } else if random.once_in(4) {
                size = -size;
            }
        }
        append(&mut archive, &header(random, flag, size), &data);
    }
    match random.below(12) {
        0 => {}
        1 => archive.extend([0; BLOCK]),
        2 => {
            archive.extend([0; BLOCK]);
            let block = header(random, b'0', 0);
            archive.extend(block);
        }
        3 => archive.extend([0; 20 * BLOCK]),
        4 => {
            archive.extend([0; 2 * BLOCK]);
            archive.extend(b"whatever comes after");
        }
        _ => archive.extend([0; 2 * BLOCK]),
    }
    archive
}

/// Changes an archive somewhere, and the checksum of the block it hit, so that readers go on.
pub(crate) fn mutate(random: &mut Random, archive: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let blocks = archive.len() / BLOCK;
        if blocks == 0 {
            return;
        }
        // Blocks that look like headers are hit more often than others.
        let looks = |index: &usize| archive[index * BLOCK + 257..].starts_with(b"ustar");
        let headers: Vec<_> = (0..blocks).filter(looks).collect();
        let index = if headers.is_empty() || random.once_in(5) {
            random.below(blocks)
        } else {
            random.pick(&headers)
        };
        let range = index * BLOCK..(index + 1) * BLOCK;
        let mut fix = random.below(8) > 0 && headers.contains(&index);
        match random.below(14) {
            0..=2 => {
                let at = range.start + random.below(BLOCK);
                archive[at] ^= 1 << random.below(8);
            }
            3..=5 => {
                let (at, length) = random.pick(NUMBERS);
                junk_number(random, &mut archive[range.start + at..][..length]);
                fix &= at != 148;
            }
            6..=7 => archive[range.start + 156] = random.pick(b"\x00012345567xxggLKSSVD\xff"),
            8 => {
                let at = range.start + random.pick(&[257, 258, 262, 263, 264, 508, 509]);
                archive[at] = random.pick(b"ustar \x000");
            }
            9 => {
                archive.drain(range.clone());
                fix = false;
            }
            10 => {
                let block = if random.once_in(3) {
                    vec![0; BLOCK]
                } else {
                    archive[range.clone()].to_vec()
                };
                let at = random.below(blocks + 1) * BLOCK;
                archive.splice(at..at, block);
                fix = false;
            }
            11 => {
                archive.truncate(random.below(archive.len() + 1));
                fix = false;
            }
            12 => {
                let other = random.below(blocks);
                for at in 0..BLOCK {
                    archive.swap(range.start + at, other * BLOCK + at);
                }
                fix = false;
            }
            _ => {
                // Within the block after a header: records, maps, long names.
                let at = (range.end + random.below(60)).min(archive.len() - 1);
                archive[at] = random.pick(b"0123456789 =\n,\0GNUx");
                fix = false;
            }
        }
        if fix && range.end <= archive.len() {
            let signed = random.once_in(10);
            fix_checksum(&mut archive[range], signed);
        }
    }
}
