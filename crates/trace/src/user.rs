//! Who runs a command: `USER[:GROUP]` as images have it, in numbers.

use std::io::Read as _;
use std::path::Path;

use crate::root::Root;
use crate::{Error, Result};

/// Looks users and groups up in the root's own `/etc/passwd` and `/etc/group`, as container engines do. A user without a
/// group has the group that `/etc/passwd` gives, or 0.
///
/// # Errors
/// [`Error::NoUser`].
pub fn user(root: &dyn Root, text: &str) -> Result<(u32, u32)> {
    let no = |what| Error::NoUser {
        what,
        name: text.to_owned(),
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let passwd = read(root, "etc/passwd");
    let known = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let known = known
        .filter(|fields| fields.len() > 3)
        .find(|fields| fields[0] == user || fields[2] == user);
    let number = |text: &str| text.parse::<u32>().ok();
    let uid = number(user).or_else(|| number(known.as_ref()?[2]));
    let uid = uid.ok_or_else(|| no("user"))?;
    let gid = match group {
        None => known.and_then(|fields| number(fields[3])).unwrap_or(0),
        Some(group) => {
            let groups = read(root, "etc/group");
            let mut groups = groups
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>());
            let mut named = || groups.find(|fields| fields.len() > 2 && fields[0] == group);
            let gid = number(group).or_else(|| number(named()?[2]));
            gid.ok_or_else(|| no("group"))?
        }
    };
    Ok((uid, gid))
}

/// A file's text; nothing where there is none. Links are not followed.
fn read(root: &dyn Root, path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = root.open(Path::new(path)) {
        // What was read until an error counts.
        let _ = file.take(1 << 20).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[test]
    fn names_and_numbers() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:App:/app:/bin/sh\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "www:x:33:app\n").unwrap();
        let root = Directory::open(dir.path()).unwrap();
        let user = |text| user(&root, text).ok();
        assert_eq!(user("app"), Some((1000, 1001)));
        assert_eq!(user("1000"), Some((1000, 1001)));
        assert_eq!(user("7"), Some((7, 0)));
        assert_eq!(user("app:www"), Some((1000, 33)));
        assert_eq!(user("7:8"), Some((7, 8)));
        assert_eq!(user("nobody"), None);
        assert_eq!(user("app:none"), None);
    }
}
