//! Which file systems a step sees.
//!
//! A cached layer and a new one on top of it fit together only if the lower one still is what the cached layer was made of: BuildKit
//! may have thrown a result away, kept what was packed of it, and made it once more, with other content. Mounts tell: an overlay
//! by the directories that it consists of, a plain directory by its place.

use std::fs;

use sociable_oci::Digest;

use crate::task::{Seen, place};

/// What this step sees.
pub(super) fn now() -> Seen {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Seen {
        lower: name(&mounts, place::LOWER),
        upper: name(&mounts, place::UPPER),
    }
}

/// A name for what is mounted at a place: a digest, as paths of the machine are nobody's business.
fn name(mounts: &str, place: &str) -> Option<String> {
    // The last one covers those before.
    let line = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(place))?;
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (device, root) = (mount.next()?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let of = if file_system.next()? == "overlay" {
        let options = file_system.nth(1)?.split(',');
        let mut layers = options.filter(|option| option.contains("dir="));
        let layers: Vec<_> = layers
            .by_ref()
            .filter(|o| !o.starts_with("workdir="))
            .collect();
        layers.join(",")
    } else {
        // Devices without a number of their own, as FUSE's, are others at each mount.
        if device.starts_with("0:") {
            return None;
        }
        format!("{device} {root}")
    };
    Some(Digest::sha256_of(of.as_bytes()).hex()[..32].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_layers_have_the_same_name() {
        let mounts = "\
            1 2 0:45 / /lower ro,relatime - overlay overlay ro,lowerdir=/a/3/fs:/a/2/fs\n\
            1 2 0:46 / /upper ro,relatime - overlay overlay ro,lowerdir=/a/4/fs:/a/3/fs:/a/2/fs\n";
        let next = "1 2 0:99 / /lower ro - overlay overlay ro,lowerdir=/a/4/fs:/a/3/fs:/a/2/fs,index=off\n";
        assert_eq!(name(mounts, "/upper"), name(next, "/lower"));
        assert_ne!(name(mounts, "/lower"), name(next, "/lower"));
        assert!(name(mounts, "/upper").is_some());
        assert_eq!(name(mounts, "/else"), None);
    }

    #[test]
    fn a_directory_is_known_by_its_place() {
        let of = |root: &str| {
            let line = format!("1 2 8:1 {root} /upper ro,relatime - ext4 /dev/sda1 rw\n");
            name(&line, "/upper")
        };
        assert_eq!(of("/a/2/fs"), of("/a/2/fs"));
        assert_ne!(of("/a/2/fs"), of("/a/3/fs"));
        let fuse = "1 2 0:61 / /upper ro - fuse.fuse-overlayfs fuse-overlayfs ro\n";
        assert_eq!(name(fuse, "/upper"), None);
    }
}
