//! Why there is no answer, what may help, and how both are said.

use std::fmt::Write as _;

use bstr::{BStr, BString, ByteSlice};
use sociable_ztoc::EntryKind;

use super::{MAX_LINK_TARGET, MAX_LINKS};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Nothing has that name.
    #[error("{path:?}: no such file or directory{}", .hint.text(path.as_bstr(), at.as_bstr()))]
    NotFound {
        /// What was asked for.
        path: BString,
        /// The first component that is missing, as a path without links.
        at: BString,
        /// What may help.
        hint: Box<Hint>,
    },
    /// The path goes on behind something that has no content.
    #[error("{path:?}: {at:?} is {}, not a directory{}", kind_name(*kind), unseen_text(unseen))]
    NotADirectory {
        /// What was asked for.
        path: BString,
        /// What is no directory, as a path without links.
        at: BString,
        /// What it is.
        kind: EntryKind,
        /// Layers without a zTOC that might change this.
        unseen: Vec<usize>,
    },
    /// A directory has no bytes to be read.
    #[error("{path:?} is a directory")]
    IsADirectory {
        /// The directory.
        path: BString,
    },
    /// A link, a device or a pipe has no bytes to be read.
    #[error("{path:?} is {}, not a regular file", kind_name(*kind))]
    NotAFile {
        /// What was to be read.
        path: BString,
        /// What it is.
        kind: EntryKind,
    },
    /// Links lead in circles, or through too many links.
    #[error("{path:?}: too many symbolic links (more than {MAX_LINKS}), {link:?} at last")]
    Loop {
        /// What was asked for.
        path: BString,
        /// The link that was one too many.
        link: BString,
    },
    /// A link's target is longer than Linux allows.
    #[error(
        "{path:?}: the target of the symbolic link {link:?} has {length} bytes, the limit is {MAX_LINK_TARGET}"
    )]
    LinkTooLong {
        /// What was asked for.
        path: BString,
        /// The link.
        link: BString,
        /// Length of its target in bytes.
        length: usize,
    },
    /// A hard link leads nowhere.
    #[error("{path:?} is a hard link to {target:?} in layer {layer} (counted from 0), {why}")]
    BrokenHardLink {
        /// The link.
        path: BString,
        /// Its target as the layer spells it.
        target: BString,
        /// The layer, counted from 0.
        layer: usize,
        /// What is wrong.
        why: BrokenLink,
    },
    /// The layers ask for more than this program is ready to do.
    #[error("layer {layer} (counted from 0) goes beyond the limit of {limit} {what}")]
    TooLarge {
        /// The layer, counted from 0.
        layer: usize,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
}

/// What is wrong with a hard link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenLink {
    /// The target is the link.
    #[error("that is to itself")]
    Itself,
    /// The target is nowhere in the layer.
    #[error("which is not in that layer, as it must be")]
    Missing,
    /// The target comes behind the link.
    #[error("which comes only behind the link")]
    Later,
    /// The target is a directory.
    #[error("which is a directory")]
    Directory,
    /// The target was there once, or is such a link as well.
    #[error("which was replaced or removed before the link, or is itself such a link")]
    Gone,
}

/// What may help one who missed a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hint {
    /// The last symbolic link on the way.
    pub link: Option<BString>,
    /// Names in the directory where the component is missing: all of them, or those that resemble it.
    pub near: Vec<BString>,
    /// Whether these are all.
    pub all: bool,
    /// Layers without a zTOC, counted from 0, that might have what is missing.
    pub unseen: Vec<usize>,
}

impl Hint {
    fn text(&self, path: &BStr, at: &BStr) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        if let Some(link) = &self.link {
            let _ = write!(
                text,
                ": the link {link:?} leads to {at:?}, which is missing"
            );
        } else if !same_place(path, at) {
            let _ = write!(text, ": {at:?} is missing");
        }
        let directory = match at.rfind_byte(b'/') {
            Some(slash) if slash > 0 => at[..slash].as_bstr(),
            _ => BStr::new("/"),
        };
        let names: Vec<String> = self.near.iter().map(|name| format!("{name:?}")).collect();
        let _ = match (self.all, names.is_empty()) {
            (true, true) => write!(text, "; {directory:?} is empty"),
            (true, false) => write!(text, "; {directory:?} has {}", names.join(", ")),
            (false, true) => Ok(()),
            (false, false) => write!(text, "; like it in {directory:?}: {}", names.join(", ")),
        };
        text + &unseen_text(&self.unseen)
    }
}

fn same_place(a: &BStr, b: &BStr) -> bool {
    fn components(path: &BStr) -> impl Iterator<Item = &[u8]> {
        path.split_str("/")
            .filter(|component| !component.is_empty() && *component != b".")
    }
    components(a).eq(components(b))
}

fn unseen_text(unseen: &[usize]) -> String {
    match unseen {
        [] => String::new(),
        [layer] => format!(
            "; layer {layer} (counted from 0) has no zTOC and cannot be seen, so this may be wrong"
        ),
        layers => {
            let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
            format!(
                "; layers {} (counted from 0) have no zTOC and cannot be seen, so this may be wrong",
                layers.join(", ")
            )
        }
    }
}

fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "a regular file",
        EntryKind::Directory => "a directory",
        EntryKind::Symlink => "a symbolic link",
        EntryKind::Hardlink => "a hard link to nothing",
        EntryKind::CharDevice => "a character device",
        EntryKind::BlockDevice => "a block device",
        EntryKind::Fifo => "a named pipe",
    }
}
