//! The incremental reader: bytes in, entries out, nothing else.

use bstr::{BString, ByteSlice};

use crate::error::{TarError, TarErrorKind};
use crate::header::{self, BLOCK, Block, Dialect, EXTENSION_LIMIT, padding, typeflag, until_nul};
use crate::numeric::{parse_decimal, parse_numeric};
use crate::pax::{self, Records, SPARSE_MAP, Time};

/// One entry of an archive, as Go's `archive/tar` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// First byte of the entry's first header block, extension headers included.
    pub header_offset: u64,
    /// First byte of the data. The next header is at `data_offset + stored_size`, rounded up to a
    /// whole block.
    pub data_offset: u64,
    /// Where Go's reader stands when it returns the entry: `data_offset`, except that the map at
    /// the beginning of the data of a PAX 1.0 sparse file, and the records of a global header,
    /// have been read by then.
    pub offset_after_header: u64,
    /// The size reported: of a sparse file with its holes; of an entry without data whatever its
    /// header says, which may be negative.
    pub size: i64,
    /// Bytes of data in the archive.
    pub stored_size: u64,
    /// Type, see [`header`]. A NUL is reported as `0`, or `5` if the name ends in a slash.
    pub typeflag: u8,
    /// Path, as it is written.
    pub name: BString,
    /// Target of a link.
    pub linkname: BString,
    /// Permission bits, and whatever else the field held.
    pub mode: i64,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Owner's name.
    pub uname: BString,
    /// Group's name.
    pub gname: BString,
    /// Modification time. For a global header it is [`ZERO_TIME`].
    pub mtime: Time,
    /// Major number of a device.
    pub devmajor: i64,
    /// Minor number of a device.
    pub devminor: i64,
    /// The PAX records of the entry, sorted by key, each key once.
    pub pax: Vec<(BString, BString)>,
    /// The kind of sparse file, if it is one.
    pub sparse: Option<Sparse>,
}

/// How a sparse file says where its holes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sparse {
    /// In the header, and blocks after it.
    Gnu,
    /// In PAX records: versions 0.0 and 0.1.
    Pax0,
    /// At the beginning of the data: version 1.0.
    Pax1,
}

/// Go's zero time, 0001-01-01T00:00:00Z, which stands for no time at all.
pub const ZERO_TIME: Time = Time::from_secs(-62_135_596_800);

/// What a reader puts up with, beyond Go's limits on single headers.
///
/// The reader itself needs a few MiB at most. These limits are for those who keep the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries of an archive.
    pub entries: u64,
    /// Most bytes of names, link targets, and PAX records of all entries together.
    pub metadata: u64,
}

impl Default for Limits {
    /// 16 Mi entries with 1 GiB of text: more than a zTOC of 2 GiB could hold.
    fn default() -> Self {
        Self {
            entries: 1 << 24,
            metadata: 1 << 30,
        }
    }
}

/// Reads an uncompressed archive that arrives in pieces.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    state: State,
    /// Bytes consumed so far.
    position: u64,
    /// The block that is being collected, or was last.
    block: Block,
    filled: usize,
    /// Of the last header block, for errors.
    block_offset: u64,
    name: Option<BString>,
    pending: Pending,
    entries: u64,
    metadata: u64,
}

/// What extension headers said about the entry to come.
#[derive(Debug, Default)]
struct Pending {
    header_offset: Option<u64>,
    pax: Records,
    long_name: BString,
    long_link: BString,
}

/// What the next byte is part of.
#[derive(Debug)]
enum State {
    /// A header block.
    Header,
    /// The block after one block of zeros.
    SecondZeroBlock,
    /// The payload of an extension header, at least one more byte of it.
    Extension(Extension),
    /// A block of more fragments after a GNU sparse header.
    GnuMap(Box<GnuMap>),
    /// A block of the map at the beginning of a PAX 1.0 sparse file.
    PaxMap(Box<PaxMap>),
    /// Data and padding, at least one more byte of them.
    Skip { data: u64, padding: u64 },
    /// Nobody cares.
    Done,
    /// Nobody should.
    Failed(TarError),
}

#[derive(Debug)]
struct Extension {
    fields: Fields,
    size: u64,
    payload: Vec<u8>,
    /// Bytes still to come; one too many is waited for if the size is beyond the limit, as a
    /// payload that is cut short is another error than one that is too long.
    missing: u64,
}

#[derive(Debug)]
struct GnuMap {
    draft: Draft,
    fragments: Fragments,
    /// Bytes of maps read.
    total: u64,
}

#[derive(Debug)]
struct PaxMap {
    draft: Draft,
    fragments: Fragments,
    text: Vec<u8>,
    /// Where in `text` the next number begins, and how many complete ones there are from there.
    cursor: usize,
    complete: u64,
    /// How many fragments there are, once known.
    count: Option<u64>,
    /// Bytes of the entry's data that were not read as map.
    unread: u64,
}

/// An entry that lacks only its sparse map.
#[derive(Debug)]
struct Draft {
    fields: Fields,
    sparse: Option<Sparse>,
    stored_size: u64,
}

/// What a header block says.
#[derive(Debug, Clone)]
struct Fields {
    typeflag: u8,
    name: BString,
    linkname: BString,
    size: i64,
    mode: i64,
    uid: i64,
    gid: i64,
    uname: BString,
    gname: BString,
    mtime: Time,
    devmajor: i64,
    devminor: i64,
}

type Step<T = ()> = Result<T, TarErrorKind>;
type OnEntry<'a> = &'a mut dyn FnMut(Entry);

impl Reader {
    /// A reader at the beginning of an archive.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            position: 0,
            block: [0; BLOCK],
            filled: 0,
            block_offset: 0,
            name: None,
            pending: Pending::default(),
            entries: 0,
            metadata: 0,
        }
    }

    /// Takes the next bytes of the stream and calls `on_entry` for every entry whose header they
    /// complete. How the stream is cut into pieces makes no difference; data cost nothing.
    ///
    /// # Errors
    ///
    /// Where Go's reader fails, or a limit is exceeded. From then on every call fails so. Entries
    /// before that place have been reported.
    pub fn feed(&mut self, mut bytes: &[u8], on_entry: OnEntry<'_>) -> Result<(), TarError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        while !bytes.is_empty() && !self.is_done() {
            self.step(&mut bytes, on_entry)
                .map_err(|kind| self.fail(kind))?;
        }
        Ok(())
    }

    /// Says that the stream has ended, and gives the position where Go's reader found the
    /// archive's end: after the second block of zeros, or the stream's end if there is no such
    /// marker but the stream ends where it may.
    ///
    /// # Errors
    ///
    /// If the stream must not end here, or the reader had failed before.
    pub fn finish(&mut self) -> Result<u64, TarError> {
        let complete = match &self.state {
            State::Header | State::SecondZeroBlock => {
                if self.filled > 0 {
                    self.block_offset = self.position - self.filled as u64;
                    self.name = None;
                }
                self.filled == 0
            }
            State::Skip { data, .. } => *data == 0,
            State::Done => true,
            State::Extension(_) | State::GnuMap(_) | State::PaxMap(_) => false,
            State::Failed(error) => return Err(error.clone()),
        };
        if complete {
            Ok(self.position)
        } else {
            Err(self.fail(TarErrorKind::UnexpectedEof))
        }
    }

    /// Whether the end-of-archive marker was seen. All that follows is ignored, as Go does.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn fail(&mut self, kind: TarErrorKind) -> TarError {
        let error = TarError {
            offset: self.block_offset,
            name: self.name.clone(),
            kind,
        };
        self.state = State::Failed(error.clone());
        error
    }

    /// Consumes at least one byte, and as many as belong to what the current state waits for.
    fn step(&mut self, bytes: &mut &[u8], on_entry: OnEntry<'_>) -> Step {
        match &mut self.state {
            State::Header => {
                if self.fill_block(bytes) {
                    self.block_offset = self.position - BLOCK as u64;
                    self.name = None;
                    self.header(on_entry)?;
                }
            }
            State::SecondZeroBlock => {
                if self.fill_block(bytes) {
                    self.block_offset = self.position - BLOCK as u64;
                    self.name = None;
                    if self.block.iter().any(|&byte| byte != 0) {
                        return Err(TarErrorKind::LoneZeroBlock);
                    }
                    self.state = State::Done;
                }
            }
            State::Extension(extension) => {
                let taken = take(bytes, extension.missing);
                self.position += taken.len() as u64;
                extension.missing -= taken.len() as u64;
                if extension.size <= EXTENSION_LIMIT {
                    extension.payload.extend_from_slice(taken);
                }
                if extension.missing == 0
                    && let State::Extension(extension) = self.take_state()
                {
                    self.extension(extension, on_entry)?;
                }
            }
            State::GnuMap(_) => {
                if self.fill_block(bytes)
                    && let State::GnuMap(map) = self.take_state()
                {
                    self.gnu_map(*map, on_entry)?;
                }
            }
            State::PaxMap(_) => {
                if self.fill_block(bytes)
                    && let State::PaxMap(mut map) = self.take_state()
                {
                    map.text.extend_from_slice(&self.block);
                    map.complete += self.block.find_iter(b"\n").count() as u64;
                    self.pax_map(map, on_entry)?;
                }
            }
            State::Skip { data, padding } => {
                for part in [&mut *data, padding] {
                    let taken = take(bytes, *part).len() as u64;
                    self.position += taken;
                    *part -= taken;
                }
                if let State::Skip {
                    data: 0,
                    padding: 0,
                } = self.state
                {
                    self.state = State::Header;
                }
            }
            State::Done | State::Failed(_) => *bytes = &[],
        }
        Ok(())
    }

    /// Collects a block; says when it is complete.
    fn fill_block(&mut self, bytes: &mut &[u8]) -> bool {
        let taken = take(bytes, (BLOCK - self.filled) as u64);
        self.block[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled = (self.filled + taken.len()) % BLOCK;
        self.position += taken.len() as u64;
        self.filled == 0
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Header)
    }

    fn skip(&mut self, data: u64, padding: u64) {
        self.state = match (data, padding) {
            (0, 0) => State::Header,
            _ => State::Skip { data, padding },
        };
    }

    /// A whole header block is there.
    fn header(&mut self, on_entry: OnEntry<'_>) -> Step {
        if self.block.iter().all(|&byte| byte == 0) {
            self.state = State::SecondZeroBlock;
            return Ok(());
        }
        check_sum(&self.block)?;
        self.name = Some(header::NAME.text(&self.block).into());
        let fields = Fields::parse(&self.block)?;
        self.name = Some(fields.name.clone());
        // Checked before PAX records get a chance to replace it, and again after.
        let size = fields.stored_size()?;
        self.pending.header_offset.get_or_insert(self.block_offset);
        match fields.typeflag {
            typeflag::PAX
            | typeflag::PAX_GLOBAL
            | typeflag::GNU_LONG_NAME
            | typeflag::GNU_LONG_LINK => {
                let missing = size.min(EXTENSION_LIMIT + 1);
                let extension = Extension {
                    fields,
                    size,
                    payload: Vec::new(),
                    missing,
                };
                if missing == 0 {
                    return self.extension(extension, on_entry);
                }
                self.state = State::Extension(extension);
                Ok(())
            }
            _ => self.file(fields, on_entry),
        }
    }

    /// A whole extension header is there.
    fn extension(&mut self, extension: Extension, on_entry: OnEntry<'_>) -> Step {
        let Extension {
            fields,
            size,
            payload,
            ..
        } = extension;
        if size > EXTENSION_LIMIT {
            return Err(TarErrorKind::ExtensionTooLong);
        }
        match fields.typeflag {
            typeflag::PAX => self.pending.pax = pax::parse(&payload)?,
            typeflag::GNU_LONG_NAME => self.pending.long_name = until_nul(&payload).into(),
            typeflag::GNU_LONG_LINK => self.pending.long_link = until_nul(&payload).into(),
            _ => return self.global(&fields, size, pax::parse(&payload)?, on_entry),
        }
        self.skip(0, padding(size));
        Ok(())
    }

    /// A whole global header is there. Go reports no more of it than name, type and records; and
    /// no records if one of them has an invalid value, which it does not call an error.
    fn global(
        &mut self,
        fields: &Fields,
        size: u64,
        mut records: Records,
        on_entry: OnEntry<'_>,
    ) -> Step {
        let mut merged = fields.clone();
        if merged.apply(&records).is_err() {
            records.clear();
        }
        let fields = Fields {
            name: merged.name,
            linkname: BString::default(),
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            uname: BString::default(),
            gname: BString::default(),
            mtime: ZERO_TIME,
            devmajor: 0,
            devminor: 0,
            ..*fields
        };
        self.pending.pax = records;
        let draft = Draft {
            fields,
            sparse: None,
            stored_size: size,
        };
        self.emit(draft, 0, on_entry)
    }

    /// A header that stands for a file was read: all that is known about it comes together.
    fn file(&mut self, mut fields: Fields, on_entry: OnEntry<'_>) -> Step {
        fields.apply(&self.pending.pax)?;
        if !self.pending.long_name.is_empty() {
            fields.name = std::mem::take(&mut self.pending.long_name);
        }
        if !self.pending.long_link.is_empty() {
            fields.linkname = std::mem::take(&mut self.pending.long_link);
        }
        if fields.typeflag == typeflag::OLD_FILE {
            let is_directory = fields.name.ends_with(b"/");
            fields.typeflag = if is_directory {
                typeflag::DIRECTORY
            } else {
                typeflag::FILE
            };
        }
        self.name = Some(fields.name.clone());
        let stored_size = fields.stored_size()?;

        if fields.typeflag == typeflag::GNU_SPARSE {
            return self.gnu_sparse(fields, stored_size, on_entry);
        }
        let records = &self.pending.pax;
        let sparse = pax_sparse(records);
        if sparse.is_some() {
            if let Some(name) = pax::non_empty(records, "GNU.sparse.name") {
                fields.name = name.into();
            }
            let size = ["GNU.sparse.size", "GNU.sparse.realsize"];
            if let Some((key, value)) = size
                .iter()
                .find_map(|key| Some((*key, pax::non_empty(records, key)?)))
            {
                fields.size =
                    parse_decimal(value).ok_or_else(|| TarErrorKind::PaxValue(key.into()))?;
            }
        }
        let mut fragments = Fragments::new(fields.size);
        if sparse == Some(Sparse::Pax0) {
            fragments.read_records(records)?;
        }
        let draft = Draft {
            fields,
            sparse,
            stored_size,
        };
        if sparse == Some(Sparse::Pax1) {
            let map = PaxMap {
                draft,
                fragments,
                text: Vec::new(),
                cursor: 0,
                complete: 0,
                count: None,
                unread: stored_size,
            };
            return self.pax_map(Box::new(map), on_entry);
        }
        self.finish_sparse(draft, &fragments, stored_size, on_entry)
    }

    fn gnu_sparse(&mut self, mut fields: Fields, stored_size: u64, on_entry: OnEntry<'_>) -> Step {
        // Schily's tar has the same type, and its map elsewhere.
        if Dialect::of(&self.block) != Dialect::Gnu {
            return Err(TarErrorKind::SparseMap);
        }
        fields.size = number(header::GNU_REALSIZE, &self.block)?;
        let mut fragments = Fragments::new(fields.size);
        let slots = header::GNU_SPARSE.of(&self.block);
        let total = slots.len() as u64;
        let extended = fragments.read_slots(slots)?;
        let draft = Draft {
            fields,
            sparse: Some(Sparse::Gnu),
            stored_size,
        };
        if extended {
            self.state = State::GnuMap(Box::new(GnuMap {
                draft,
                fragments,
                total,
            }));
            return Ok(());
        }
        self.finish_sparse(draft, &fragments, stored_size, on_entry)
    }

    /// A whole block of a GNU map is there.
    fn gnu_map(&mut self, mut map: GnuMap, on_entry: OnEntry<'_>) -> Step {
        map.total += BLOCK as u64;
        if map.total >= EXTENSION_LIMIT {
            return Err(TarErrorKind::SparseMapTooLong);
        }
        if map.fragments.read_slots(&self.block)? {
            self.state = State::GnuMap(Box::new(map));
            return Ok(());
        }
        let unread = map.draft.stored_size;
        self.finish_sparse(map.draft, &map.fragments, unread, on_entry)
    }

    /// Uses what is there of a PAX 1.0 map; waits for the next block if that is not all.
    fn pax_map(&mut self, mut map: Box<PaxMap>, on_entry: OnEntry<'_>) -> Step {
        if map.count.is_none() && map.complete >= 1 {
            // As many numbers as can be counted; so many that twice that cannot are no map.
            let count = map.next_number().and_then(|n| u64::try_from(n).ok());
            map.count = Some(
                count
                    .filter(|n| *n < 1 << 62)
                    .ok_or(TarErrorKind::SparseMap)?,
            );
        }
        match map.count {
            Some(count) if map.complete >= 2 * count => {
                for _ in 0..count {
                    let (offset, length) = (map.next_number(), map.next_number());
                    let (Some(offset), Some(length)) = (offset, length) else {
                        return Err(TarErrorKind::SparseMap);
                    };
                    map.fragments.push(offset, length);
                }
                let unread = map.unread;
                self.finish_sparse(map.draft, &map.fragments, unread, on_entry)
            }
            _ => {
                if map.text.len() as u64 >= EXTENSION_LIMIT {
                    return Err(TarErrorKind::SparseMapTooLong);
                }
                map.unread = map
                    .unread
                    .checked_sub(BLOCK as u64)
                    .ok_or(TarErrorKind::SparseMapCut)?;
                self.state = State::PaxMap(map);
                Ok(())
            }
        }
    }

    /// All is known about an entry, sparse or not, of whose data `unread` bytes are to come.
    fn finish_sparse(
        &mut self,
        draft: Draft,
        fragments: &Fragments,
        unread: u64,
        on_entry: OnEntry<'_>,
    ) -> Step {
        let header_only = typeflag::is_header_only(draft.fields.typeflag);
        if draft.sparse.is_some() && (header_only || !fragments.valid) {
            return Err(TarErrorKind::SparseMap);
        }
        self.emit(draft, unread, on_entry)
    }

    fn emit(&mut self, draft: Draft, unread: u64, on_entry: OnEntry<'_>) -> Step {
        let Draft {
            fields,
            sparse,
            stored_size,
        } = draft;
        let pending = std::mem::take(&mut self.pending);
        let entry = Entry {
            header_offset: pending.header_offset.unwrap_or(self.block_offset),
            data_offset: self.position - (stored_size - unread),
            offset_after_header: self.position,
            size: fields.size,
            stored_size,
            typeflag: fields.typeflag,
            name: fields.name,
            linkname: fields.linkname,
            mode: fields.mode,
            uid: fields.uid,
            gid: fields.gid,
            uname: fields.uname,
            gname: fields.gname,
            mtime: fields.mtime,
            devmajor: fields.devmajor,
            devminor: fields.devminor,
            pax: pending.pax.into_iter().collect(),
            sparse,
        };
        self.entries += 1;
        self.metadata += entry.metadata();
        if self.entries > self.limits.entries {
            return Err(TarErrorKind::TooManyEntries(self.limits.entries));
        }
        if self.metadata > self.limits.metadata {
            return Err(TarErrorKind::TooMuchMetadata(self.limits.metadata));
        }
        self.skip(unread, padding(stored_size));
        on_entry(entry);
        Ok(())
    }
}

impl Entry {
    /// Bytes of text in it.
    fn metadata(&self) -> u64 {
        let names = [&self.name, &self.linkname, &self.uname, &self.gname];
        let records = self.pax.iter().flat_map(|(key, value)| [key, value]);
        names
            .into_iter()
            .chain(records)
            .map(|text| text.len() as u64)
            .sum()
    }
}

impl Fields {
    fn parse(block: &Block) -> Step<Self> {
        let text = |field: header::Field| BString::from(field.text(block));
        let mut fields = Self {
            typeflag: header::TYPEFLAG.of(block)[0],
            name: text(header::NAME),
            linkname: text(header::LINKNAME),
            size: number(header::SIZE, block)?,
            mode: number(header::MODE, block)?,
            uid: number(header::UID, block)?,
            gid: number(header::GID, block)?,
            uname: BString::default(),
            gname: BString::default(),
            mtime: Time::from_secs(number(header::MTIME, block)?),
            devmajor: 0,
            devminor: 0,
        };
        let dialect = Dialect::of(block);
        if dialect == Dialect::V7 {
            return Ok(fields);
        }
        fields.uname = text(header::UNAME);
        fields.gname = text(header::GNAME);
        fields.devmajor = number(header::DEVMAJOR, block)?;
        fields.devminor = number(header::DEVMINOR, block)?;
        let prefix = match dialect {
            Dialect::V7 => &[],
            Dialect::Ustar => header::PREFIX.text(block),
            Dialect::Star => {
                number(header::STAR_ATIME, block)?;
                number(header::STAR_CTIME, block)?;
                header::STAR_PREFIX.text(block)
            }
            Dialect::Gnu => mistaken_prefix(block),
        };
        if !prefix.is_empty() {
            fields.name = [prefix, b"/", &fields.name].concat().into();
        }
        Ok(fields)
    }

    /// Bytes of data that follow the header.
    fn stored_size(&self) -> Step<u64> {
        if typeflag::is_header_only(self.typeflag) {
            return Ok(0);
        }
        u64::try_from(self.size).map_err(|_| TarErrorKind::NegativeSize)
    }

    /// Replaces fields by what PAX records say. All text is replaced even if a number is invalid.
    fn apply(&mut self, records: &Records) -> Step {
        for (key, text) in [
            ("path", &mut self.name),
            ("linkpath", &mut self.linkname),
            ("uname", &mut self.uname),
            ("gname", &mut self.gname),
        ] {
            if let Some(value) = pax::non_empty(records, key) {
                *text = value.into();
            }
        }
        for (key, number) in [
            ("uid", &mut self.uid),
            ("gid", &mut self.gid),
            ("size", &mut self.size),
        ] {
            if let Some(value) = pax::non_empty(records, key) {
                *number = parse_decimal(value).ok_or_else(|| TarErrorKind::PaxValue(key.into()))?;
            }
        }
        for key in ["atime", "mtime", "ctime"] {
            if let Some(value) = pax::non_empty(records, key) {
                let time =
                    Time::parse_pax(value).ok_or_else(|| TarErrorKind::PaxValue(key.into()))?;
                if key == "mtime" {
                    self.mtime = time;
                }
            }
        }
        Ok(())
    }
}

/// What tells that the fragments of a sparse file are in order and within it.
#[derive(Debug)]
struct Fragments {
    size: i64,
    /// End of the last one.
    end: i64,
    valid: bool,
}

impl Fragments {
    fn new(size: i64) -> Self {
        Self {
            size,
            end: 0,
            valid: size >= 0,
        }
    }

    fn push(&mut self, offset: i64, length: i64) {
        match offset.checked_add(length) {
            Some(end) if length >= 0 && offset >= self.end && end <= self.size => self.end = end,
            _ => self.valid = false,
        }
    }

    /// Reads the slots of a GNU header or of a block after it; says whether another block follows.
    fn read_slots(&mut self, slots: &[u8]) -> Step<bool> {
        let used = slots
            .chunks_exact(header::FRAGMENT)
            .take_while(|slot| slot[0] != 0);
        for slot in used {
            let (offset, length) = slot.split_at(header::FRAGMENT / 2);
            let (Some(offset), Some(length)) = (parse_numeric(offset), parse_numeric(length))
            else {
                return Err(TarErrorKind::SparseMap);
            };
            self.push(offset, length);
        }
        Ok(slots[slots.len() / header::FRAGMENT * header::FRAGMENT] != 0)
    }

    /// Reads the map of PAX format 0.1.
    fn read_records(&mut self, records: &Records) -> Step {
        let numbers = match pax::non_empty(records, SPARSE_MAP) {
            Some(map) => map.split_str(",").map(parse_decimal).collect(),
            None => Vec::new(),
        };
        let count = pax::non_empty(records, "GNU.sparse.numblocks").and_then(|n| parse_decimal(n));
        let (pairs, rest) = numbers.as_chunks::<2>();
        let is_count = count.and_then(|n| usize::try_from(n).ok()) == Some(pairs.len());
        if !is_count || !rest.is_empty() {
            return Err(TarErrorKind::SparseMap);
        }
        for pair in pairs {
            let [Some(offset), Some(length)] = *pair else {
                return Err(TarErrorKind::SparseMap);
            };
            self.push(offset, length);
        }
        Ok(())
    }
}

impl PaxMap {
    /// The next number of the map; there must be a complete one. `None` if it is none.
    fn next_number(&mut self) -> Option<i64> {
        let rest = &self.text[self.cursor..];
        let end = rest.find_byte(b'\n')?;
        let number = parse_decimal(&rest[..end]);
        self.cursor += end + 1;
        self.complete -= 1;
        number
    }
}

/// Whether records are those of a sparse file whose map is in the records or in the data.
fn pax_sparse(records: &Records) -> Option<Sparse> {
    let version = ["GNU.sparse.major", "GNU.sparse.minor"]
        .map(|key| pax::non_empty(records, key).map(|value| &**value));
    match version {
        [Some(b"0"), Some(b"0" | b"1")] => Some(Sparse::Pax0),
        [Some(b"1"), Some(b"0")] => Some(Sparse::Pax1),
        [None, None] => pax::non_empty(records, SPARSE_MAP).map(|_| Sparse::Pax0),
        _ => None,
    }
}

fn check_sum(block: &Block) -> Step {
    if header::is_header(block) {
        Ok(())
    } else {
        Err(TarErrorKind::Checksum)
    }
}

fn number(field: header::Field, block: &Block) -> Step<i64> {
    parse_numeric(field.of(block)).ok_or(TarErrorKind::Number(field.name))
}

/// The USTAR prefix that an old writer left in a GNU header, see [`header`].
fn mistaken_prefix(block: &Block) -> &[u8] {
    let is_time = |field: header::Field| {
        let bytes = field.of(block);
        bytes[0] == 0 || parse_numeric(bytes).is_some()
    };
    let prefix = header::PREFIX.text(block);
    if is_time(header::GNU_ATIME) && is_time(header::GNU_CTIME) || !prefix.is_ascii() {
        return &[];
    }
    prefix
}

/// Splits off at most `length` bytes.
fn take<'a>(bytes: &mut &'a [u8], length: u64) -> &'a [u8] {
    let length = usize::try_from(length).map_or(bytes.len(), |length| length.min(bytes.len()));
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_in_order_and_within_the_file() {
        let valid = |size, fragments: &[(i64, i64)]| {
            let mut check = Fragments::new(size);
            for &(offset, length) in fragments {
                check.push(offset, length);
            }
            check.valid
        };
        assert!(valid(0, &[]));
        assert!(valid(0, &[(0, 0), (0, 0)]));
        assert!(valid(10, &[(0, 3), (3, 0), (3, 7), (10, 0)]));
        assert!(valid(i64::MAX, &[(i64::MAX, 0)]));
        assert!(!valid(-1, &[]));
        assert!(!valid(10, &[(3, 3), (5, 1)]));
        assert!(!valid(10, &[(3, 8)]));
        assert!(!valid(10, &[(-1, 3)]));
        assert!(!valid(10, &[(3, -1)]));
        assert!(!valid(i64::MAX, &[(1, i64::MAX)]));
        assert!(!valid(10, &[(9, 9), (0, 1)]));
    }

    #[test]
    fn an_archive_may_stop_between_entries() {
        assert_eq!(Reader::new(Limits::default()).finish(), Ok(0));
        let mut reader = Reader::new(Limits::default());
        reader.feed(&[0; 512], &mut |_| {}).expect("zeros");
        assert!(!reader.is_done());
        assert_eq!(reader.finish(), Ok(512));
        reader.feed(&[0; 512], &mut |_| {}).expect("zeros");
        assert!(reader.is_done());
        reader.feed(b"anything", &mut |_| {}).expect("ignored");
        assert_eq!(reader.finish(), Ok(1024));
    }

    #[test]
    fn an_error_stays() {
        let mut reader = Reader::new(Limits::default());
        let error = reader
            .feed(&[b'!'; 512], &mut |_| {})
            .expect_err("no header");
        assert_eq!(error.kind, TarErrorKind::Checksum);
        assert_eq!(error.offset, 0);
        assert_eq!(reader.feed(b"", &mut |_| {}), Err(error.clone()));
        assert_eq!(reader.finish(), Err(error));
    }
}
