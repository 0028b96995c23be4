//! Entries in the order that a policy wants.

use sociable_policy::facts::path;
use sociable_policy::order::{OrderPolicy, arrange};
use sociable_policy::{Entry, Kind, Layer};
use sociable_tar::{Header, Kind as TarKind};

use super::{PackEntry, PackError, SourceError};

/// All entries, in the order that `policy` wants.
///
/// # Errors
/// The first that could not be had; or the policy's answer is none, or wrong.
pub fn arranged<E: PackEntry>(
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    policy: &dyn OrderPolicy,
    layer: &Layer,
) -> Result<Vec<E>, PackError> {
    let entries = entries.into_iter().collect::<Result<Vec<E>, _>>();
    let entries = entries.map_err(PackError::Source)?;
    let facts: Vec<_> = (entries.iter())
        .map(|entry| described(entry.header()))
        .collect();
    let order = arrange(policy, layer, &facts)?;
    drop(facts);
    let mut entries: Vec<_> = entries.into_iter().map(Some).collect();
    let in_order = order
        .iter()
        .filter_map(|&place| entries[place as usize].take());
    Ok(in_order.collect())
}

/// An entry as policies see it before it has a place.
pub(super) fn described(header: &Header) -> Entry<'_> {
    let (kind, size, link) = match &header.kind {
        TarKind::File { size } => (Kind::File, *size, None),
        TarKind::HardLink { target } => (Kind::HardLink, 0, Some(target)),
        TarKind::Symlink { target } => (Kind::Symlink, 0, Some(target)),
        TarKind::CharDevice { .. } => (Kind::CharDevice, 0, None),
        TarKind::BlockDevice { .. } => (Kind::BlockDevice, 0, None),
        TarKind::Directory => (Kind::Directory, 0, None),
        TarKind::Fifo => (Kind::Fifo, 0, None),
    };
    Entry {
        path: path(&header.name),
        kind,
        header: 0,
        data: 0,
        size,
        mode: header.mode & 0o7777,
        link: link.map(|target| String::from_utf8_lossy(target)),
    }
}
