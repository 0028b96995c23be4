//! Where the cache is unless a directory is named.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where the cache is: `$SOCIABLE_CACHE_DIR`, else `$XDG_CACHE_HOME/sociable`, else `~/.cache/sociable`. `None` when
/// none of these is set: then there is no cache.
#[must_use]
pub fn default_dir() -> Option<PathBuf> {
    dir_from(|name| std::env::var_os(name))
}

/// [`default_dir`] in an environment given as a function. Empty variables are as good as none, and so are relative paths
/// in the two that are not ours (XDG Base Directory Specification).
#[must_use]
pub fn dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let absolute = |name| path(name).filter(|path| path.is_absolute());
    path("SOCIABLE_CACHE_DIR")
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("sociable")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/sociable")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is() {
        let dir = |set: &[(&str, &str)]| {
            dir_from(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
        };
        let (ours, xdg, home) = (
            ("SOCIABLE_CACHE_DIR", "relative/c"),
            ("XDG_CACHE_HOME", "/x"),
            ("HOME", "/home/u"),
        );
        assert_eq!(dir(&[ours, xdg, home]), Some("relative/c".into()));
        assert_eq!(dir(&[xdg, home]), Some("/x/sociable".into()));
        assert_eq!(dir(&[home]), Some("/home/u/.cache/sociable".into()));
        assert_eq!(
            dir(&[("XDG_CACHE_HOME", "x"), ("SOCIABLE_CACHE_DIR", ""), home]),
            Some("/home/u/.cache/sociable".into())
        );
        assert_eq!(dir(&[("HOME", "")]), None);
        assert_eq!(dir(&[]), None);
    }
}
