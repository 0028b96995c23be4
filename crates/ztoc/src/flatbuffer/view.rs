//! Reading of any FlatBuffer, every access checked.
//!
//! The rules are those of the FlatBuffers verifier that matter for safety: references stay inside
//! the buffer, strings end with a NUL byte, vectors and field lists are whole. Alignment is not
//! asked for, as the reference's reader does not need it.

/// What is wrong with a buffer, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} lies outside the buffer or is malformed")]
pub struct Malformed {
    /// What was to be read.
    pub what: &'static str,
    /// Offset in the buffer, bytes.
    pub at: u64,
}

type Result<T> = std::result::Result<T, Malformed>;

fn array<const N: usize>(buffer: &[u8], at: usize, what: &'static str) -> Result<[u8; N]> {
    at.checked_add(N)
        .and_then(|end| buffer.get(at..end))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Malformed {
            what,
            at: at as u64,
        })
}

fn follow(buffer: &[u8], at: usize, what: &'static str) -> Result<usize> {
    let distance = u32::from_le_bytes(array(buffer, at, what)?) as usize;
    let target = at
        .checked_add(distance)
        .filter(|&target| distance > 0 && target < buffer.len());
    target.ok_or(Malformed {
        what,
        at: at as u64,
    })
}

/// A table somewhere in a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    vtable: usize,
    vtable_size: usize,
}

/// A vector of references to strings or tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector<'a> {
    buffer: &'a [u8],
    at: usize,
    length: usize,
}

impl<'a> Table<'a> {
    pub(crate) fn root(buffer: &'a [u8]) -> Result<Self> {
        let at = follow(buffer, 0, "root table")?;
        Self::at(buffer, at, "root table")
    }

    fn at(buffer: &'a [u8], at: usize, what: &'static str) -> Result<Self> {
        let malformed = Malformed {
            what,
            at: at as u64,
        };
        let distance = i64::from(i32::from_le_bytes(array(buffer, at, what)?));
        let vtable = i64::try_from(at)
            .ok()
            .and_then(|at| at.checked_sub(distance));
        let vtable = vtable
            .and_then(|at| usize::try_from(at).ok())
            .ok_or(malformed)?;
        let vtable_size = usize::from(u16::from_le_bytes(array(buffer, vtable, "field list")?));
        let table_size = usize::from(u16::from_le_bytes(array(buffer, vtable + 2, "field list")?));
        let whole = vtable_size >= 4
            && vtable_size % 2 == 0
            && vtable + vtable_size <= buffer.len()
            && table_size >= 4
            && at + table_size <= buffer.len();
        if whole {
            Ok(Self {
                buffer,
                at,
                vtable,
                vtable_size,
            })
        } else {
            Err(malformed)
        }
    }

    fn field(&self, slot: usize) -> Result<Option<usize>> {
        let at = 4 + slot * 2;
        if at + 2 > self.vtable_size {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(array(self.buffer, self.vtable + at, "field list")?);
        Ok((offset != 0).then(|| self.at + usize::from(offset)))
    }

    fn scalar<const N: usize>(&self, slot: usize, what: &'static str) -> Result<Option<[u8; N]>> {
        self.field(slot)?
            .map(|at| array(self.buffer, at, what))
            .transpose()
    }

    pub(crate) fn i64(&self, slot: usize, what: &'static str) -> Result<i64> {
        Ok(self.scalar(slot, what)?.map_or(0, i64::from_le_bytes))
    }

    pub(crate) fn i32(&self, slot: usize, what: &'static str) -> Result<i32> {
        Ok(self.scalar(slot, what)?.map_or(0, i32::from_le_bytes))
    }

    pub(crate) fn u32(&self, slot: usize, what: &'static str) -> Result<u32> {
        Ok(self.scalar(slot, what)?.map_or(0, u32::from_le_bytes))
    }

    pub(crate) fn i8(&self, slot: usize, default: i8, what: &'static str) -> Result<i8> {
        Ok(self.scalar(slot, what)?.map_or(default, i8::from_le_bytes))
    }

    /// A string's or byte vector's content; empty where the field is left out.
    pub(crate) fn bytes(&self, slot: usize, what: &'static str) -> Result<&'a [u8]> {
        let Some(field) = self.field(slot)? else {
            return Ok(&[]);
        };
        bytes_at(self.buffer, follow(self.buffer, field, what)?, what)
    }

    pub(crate) fn table(&self, slot: usize, what: &'static str) -> Result<Option<Self>> {
        let Some(field) = self.field(slot)? else {
            return Ok(None);
        };
        Self::at(self.buffer, follow(self.buffer, field, what)?, what).map(Some)
    }

    /// A vector of references; empty where the field is left out.
    pub(crate) fn vector(&self, slot: usize, what: &'static str) -> Result<Vector<'a>> {
        let Some(field) = self.field(slot)? else {
            return Ok(Vector {
                buffer: self.buffer,
                at: 0,
                length: 0,
            });
        };
        let at = follow(self.buffer, field, what)?;
        let length = u32::from_le_bytes(array(self.buffer, at, what)?) as usize;
        let end = length
            .checked_mul(4)
            .and_then(|size| size.checked_add(at + 4));
        if end.is_none_or(|end| end > self.buffer.len()) {
            return Err(Malformed {
                what,
                at: at as u64,
            });
        }
        Ok(Vector {
            buffer: self.buffer,
            at: at + 4,
            length,
        })
    }
}

fn bytes_at<'a>(buffer: &'a [u8], at: usize, what: &'static str) -> Result<&'a [u8]> {
    let length = u32::from_le_bytes(array(buffer, at, what)?) as usize;
    let end = (at + 4).checked_add(length);
    end.and_then(|end| buffer.get(at + 4..end))
        .ok_or(Malformed {
            what,
            at: at as u64,
        })
}

impl<'a> Vector<'a> {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn table(&self, index: usize, what: &'static str) -> Result<Table<'a>> {
        let at = follow(self.buffer, self.at + index * 4, what)?;
        Table::at(self.buffer, at, what)
    }

    pub(crate) fn bytes(&self, index: usize, what: &'static str) -> Result<&'a [u8]> {
        bytes_at(
            self.buffer,
            follow(self.buffer, self.at + index * 4, what)?,
            what,
        )
    }
}
