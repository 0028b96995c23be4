//! `sociable ls`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use serde::Serialize;
use sociable_oci::{Access, Platform, Transport};
use sociable_soci::files::Layers;
use sociable_soci::tree::{Node, Tree};
use sociable_ztoc::EntryKind;

use crate::args::IMAGE_HELP;
use crate::commands::opened::Opened;
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Lists files of an image through its index
///
/// Shows what a container would see: layers merged, whiteouts applied. Layers without a zTOC are read whole.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable ls oci:app /usr/bin
  sociable ls -lR oci:app /etc")]
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
pub(crate) struct Ls {
    #[arg(value_name = "IMAGE", help = IMAGE_HELP)]
    image: Transport,
    /// A file or directory of the image
    #[arg(default_value = "/")]
    path: OsString,
    /// Mode, owner, size, time and link target too
    #[arg(short, long)]
    long: bool,
    /// What is in directories below, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The platform, if the image has several and this machine's is not meant
    #[arg(short, long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print names as they are, each with a NUL behind it, for xargs -0
    #[arg(short = '0', long, conflicts_with_all = ["long", "json"])]
    null: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Ls, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let opened = Opened::new(&args.image, access)?;
    let of = opened.image.one(&*opened.source, args.platform.as_ref())?;
    let layers = Layers::open(&*opened.source, &opened.image, &of)?;
    let tree = layers.tree()?;
    let listed = listed(&tree, args)?;
    shown.finish();
    if args.json {
        output::print_json(&listed.iter().map(|l| item(&tree, l)).collect::<Vec<_>>())?;
    } else if args.null {
        let names = listed.iter().map(|each| [&each.name[..], b"\0"].concat());
        output::write(&names.collect::<Vec<_>>().concat())?;
    } else {
        let mut out = String::new();
        for each in &listed {
            if args.long {
                let _ = writeln!(out, "{}", long(&tree, each));
            } else {
                let _ = writeln!(out, "{}", text::name(&each.name));
            }
        }
        output::print(&out)?;
    }
    for layer in tree.unseen() {
        if let Some(why) = layers.unseen(*layer) {
            shown.note(&format!("{why}, so this list may be wrong"));
        }
    }
    Ok(())
}

/// A name to be shown, and what has it.
struct Listed {
    name: Vec<u8>,
    node: Node,
}

fn listed(tree: &Tree<'_>, args: &Ls) -> Result<Vec<Listed>, CliError> {
    let path = args.path.as_bytes();
    // As ls does: a link to a directory is followed, and listed itself with --long.
    let mut node = tree.lookup(path).map_err(sociable_soci::Error::from)?;
    if node.kind == EntryKind::Symlink && !args.long {
        node = tree.resolve(path).map_err(sociable_soci::Error::from)?;
    }
    if node.kind != EntryKind::Directory {
        return Ok(vec![Listed {
            name: path.to_vec(),
            node,
        }]);
    }
    let mut listed = Vec::new();
    let mut waiting = vec![Listed {
        name: Vec::new(),
        node,
    }];
    while let Some(next) = waiting.pop() {
        if !next.name.is_empty() {
            listed.push(Listed {
                name: next.name.clone(),
                node: next.node,
            });
        }
        if next.name.is_empty() || (args.recursive && next.node.kind == EntryKind::Directory) {
            let mut children: Vec<Listed> = tree
                .children(next.node)
                .map(|(name, node)| Listed {
                    name: if next.name.is_empty() {
                        name.to_vec()
                    } else {
                        [&next.name[..], b"/", name].concat()
                    },
                    node,
                })
                .collect();
            children.reverse();
            waiting.append(&mut children);
        }
    }
    Ok(listed)
}

fn letter(kind: EntryKind) -> char {
    match kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Hardlink => '?',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
        EntryKind::Fifo => 'p',
    }
}

/// A line as `ls -l` prints it.
fn long(tree: &Tree<'_>, listed: &Listed) -> String {
    let node = listed.node;
    let Some(entry) = tree.entry(node) else {
        return format!("d---------  (implied)  {}", text::name(&listed.name));
    };
    let mut mode = String::from(letter(node.kind));
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        mode.push(if bits & 4 != 0 { 'r' } else { '-' });
        mode.push(if bits & 2 != 0 { 'w' } else { '-' });
        mode.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => set.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    let size = match node.kind {
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            format!("{},{}", entry.devmajor, entry.devminor)
        }
        _ => size(tree, node).to_string(),
    };
    let time = entry
        .mtime
        .map_or_else(|| "-".to_owned(), |time| time.to_string());
    let target = match tree.link_target(node) {
        Some(target) => format!(" -> {}", text::name(target)),
        None => String::new(),
    };
    format!(
        "{mode} {:>5}:{:<5} {size:>12} {time} {}{target}",
        entry.uid,
        entry.gid,
        text::name(&listed.name)
    )
}

/// Bytes of a file, also under another name of it.
fn size(tree: &Tree<'_>, node: Node) -> u64 {
    tree.content_entry(node).map_or(0, |entry| entry.size)
}

#[derive(Serialize)]
struct Item {
    path: String,
    /// The path's bytes, where they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: &'static str,
    size: u64,
    mode: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    layer: usize,
}

fn item(tree: &Tree<'_>, listed: &Listed) -> Item {
    let node = listed.node;
    let entry = tree.entry(node);
    let path = tree.path(node);
    Item {
        path_hex: std::str::from_utf8(&path)
            .is_err()
            .then(|| hex::encode(&path[..])),
        path: path.to_string(),
        kind: node.kind.as_str(),
        size: size(tree, node),
        mode: entry.map(|e| format!("{:04o}", e.mode)),
        uid: entry.map(|e| e.uid),
        gid: entry.map(|e| e.gid),
        mtime: entry.and_then(|e| e.mtime).map(|time| time.to_string()),
        target: tree.link_target(node).map(ToString::to_string),
        layer: node.layer,
    }
}
