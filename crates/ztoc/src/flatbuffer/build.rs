//! A FlatBuffer builder that lays bytes out as Go's `flatbuffers.Builder` does.
//!
//! A buffer grows from its end to its beginning, so every position is counted from the end. Bytes
//! are collected in reverse and turned round once.

#![allow(
    clippy::cast_possible_truncation,
    reason = "positions are at most MAX_SIZE, checked where they are made, and tables have at most 14 fields"
)]

use crate::format::MAX_SIZE;

/// A position counted from the buffer's end: the number of bytes from there to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(u32);

/// The buffer would exceed [`MAX_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// A finished buffer: `head`, then the bytes promised to [`Builder::external_vector`] (if that
/// was called), then `tail`.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// Bytes behind the external vector's content, once there is one; turned round already.
    tail: Vec<u8>,
    /// How many bytes `reversed` does not hold: tail and external content.
    base: u64,
    /// Bytes in front of those, in reverse.
    reversed: Vec<u8>,
    /// The largest alignment asked for so far.
    alignment: u64,
    /// Field lists written so far: field offsets, and where the list is.
    vtables: Vec<(Vec<u16>, u64)>,
    /// Fields of the table being built: where each is, 0 for none.
    fields: Vec<u64>,
    table_end: u64,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            alignment: 1,
            ..Self::default()
        }
    }

    fn offset(&self) -> u64 {
        self.base + self.reversed.len() as u64
    }

    fn position(&self) -> Result<Position, TooLarge> {
        let offset = self.offset();
        if offset > MAX_SIZE {
            Err(TooLarge)
        } else {
            Ok(Position(offset as u32))
        }
    }

    /// Pads so that a value of `size` bytes is aligned once `after` more bytes were written.
    fn prepare(&mut self, size: u64, after: u64) {
        self.alignment = self.alignment.max(size);
        let padding = (self.offset() + after).wrapping_neg() & (size - 1);
        self.reversed
            .resize(self.reversed.len() + padding as usize, 0);
    }

    fn place(&mut self, bytes: &[u8]) {
        self.reversed.extend(bytes.iter().rev());
    }

    fn prepend(&mut self, bytes: &[u8]) {
        self.prepare(bytes.len() as u64, 0);
        self.place(bytes);
    }

    fn prepend_reference(&mut self, to: Position) {
        self.prepare(4, 0);
        let distance = self.offset() + 4 - u64::from(to.0);
        self.place(&(distance as u32).to_le_bytes());
    }

    fn prepend_length(&mut self, length: usize) -> Result<Position, TooLarge> {
        let length = u32::try_from(length).map_err(|_| TooLarge)?;
        self.place(&length.to_le_bytes());
        self.position()
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) -> Result<Position, TooLarge> {
        self.prepare(4, bytes.len() as u64 + 1);
        self.place(&[0]);
        self.place(bytes);
        self.prepend_length(bytes.len())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<Position, TooLarge> {
        self.prepare(4, bytes.len() as u64);
        self.place(bytes);
        self.prepend_length(bytes.len())
    }

    /// A vector of bytes whose content the caller puts between head and tail. At most one.
    pub(crate) fn external_vector(&mut self, length: u64) -> Result<Position, TooLarge> {
        debug_assert!(self.base == 0, "only one vector may stay outside");
        self.prepare(4, length);
        self.base = self.offset() + length;
        self.tail = std::mem::take(&mut self.reversed);
        self.tail.reverse();
        self.prepend_length(usize::try_from(length).map_err(|_| TooLarge)?)
    }

    pub(crate) fn vector(&mut self, items: &[Position]) -> Result<Position, TooLarge> {
        self.prepare(4, items.len() as u64 * 4);
        for item in items.iter().rev() {
            self.prepend_reference(*item);
        }
        self.prepend_length(items.len())
    }

    pub(crate) fn start_table(&mut self, fields: usize) {
        self.fields.clear();
        self.fields.resize(fields, 0);
        self.table_end = self.offset();
    }

    pub(crate) fn add_reference(&mut self, slot: usize, to: Position) {
        self.prepend_reference(to);
        self.fields[slot] = self.offset();
    }

    pub(crate) fn add_i64(&mut self, slot: usize, value: i64) {
        self.add_scalar(slot, &value.to_le_bytes(), value == 0);
    }

    pub(crate) fn add_i32(&mut self, slot: usize, value: i32) {
        self.add_scalar(slot, &value.to_le_bytes(), value == 0);
    }

    pub(crate) fn add_u32(&mut self, slot: usize, value: u32) {
        self.add_scalar(slot, &value.to_le_bytes(), value == 0);
    }

    pub(crate) fn add_i8(&mut self, slot: usize, value: i8, default: i8) {
        self.add_scalar(slot, &value.to_le_bytes(), value == default);
    }

    fn add_scalar(&mut self, slot: usize, bytes: &[u8], is_default: bool) {
        if !is_default {
            self.prepend(bytes);
            self.fields[slot] = self.offset();
        }
    }

    pub(crate) fn end_table(&mut self) -> Result<Position, TooLarge> {
        self.prepend(&0i32.to_le_bytes()); // becomes the distance to the vtable
        let table = self.offset();
        let used = self
            .fields
            .iter()
            .rposition(|&field| field != 0)
            .map_or(0, |last| last + 1);
        let offsets: Vec<u16> = self.fields[..used]
            .iter()
            .map(|&field| {
                if field == 0 {
                    0
                } else {
                    (table - field) as u16
                }
            })
            .collect();
        // Go compares the fields only, not the table's size, and looks at the newest list first.
        let known = self
            .vtables
            .iter()
            .rev()
            .find(|(fields, _)| *fields == offsets);
        let vtable = if let Some((_, at)) = known {
            *at
        } else {
            for offset in offsets.iter().rev() {
                self.prepend(&offset.to_le_bytes());
            }
            self.prepend(&((table - self.table_end) as u16).to_le_bytes());
            self.prepend(&(((offsets.len() + 2) * 2) as u16).to_le_bytes());
            let at = self.offset();
            self.vtables.push((offsets, at));
            at
        };
        let position = self.position()?;
        let distance = (vtable.wrapping_sub(table) as u32).to_le_bytes();
        let from = (table - self.base) as usize;
        for (i, byte) in distance.iter().enumerate() {
            self.reversed[from - 1 - i] = *byte;
        }
        debug_assert!(u64::from(position.0) >= table);
        Ok(Position(table as u32))
    }

    pub(crate) fn finish(mut self, root: Position) -> Result<Finished, TooLarge> {
        self.prepare(self.alignment, 4);
        self.prepend_reference(root);
        self.position()?;
        let mut head = self.reversed;
        head.reverse();
        Ok(if self.base == 0 {
            Finished {
                head,
                tail: Vec::new(),
            }
        } else {
            Finished {
                head,
                tail: self.tail,
            }
        })
    }
}
