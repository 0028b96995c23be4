//! Where compiled code is kept.
//!
//! It is machine code, and run as it is: so the directory has to be the user's own.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use wasmtime::{Cache, CacheConfig};

/// A cache in this directory, which is made; or why there is none.
pub(crate) fn open(directory: &Path) -> Result<Cache, String> {
    let shown = directory.display();
    let directory = std::path::absolute(directory).map_err(|error| format!("{shown}: {error}"))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|error| format!("{shown}: {error}"))?;
    let metadata = directory
        .metadata()
        .map_err(|error| format!("{shown}: {error}"))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "{shown} is not the user's own: others can write there"
        ));
    }
    let mut settings = CacheConfig::new();
    settings.with_directory(directory);
    Cache::new(settings).map_err(|error| format!("{shown}: {}", error.root_cause()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_write_is_not_used() {
        let dir = std::env::temp_dir().join(format!("sociable-compiled-{}", std::process::id()));
        let own = dir.join("own");
        assert!(open(&own).is_ok());
        assert_eq!(own.metadata().unwrap().mode() & 0o777, 0o700);
        let open_to_all = dir.join("all");
        DirBuilder::new().mode(0o777).create(&open_to_all).unwrap();
        let all: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&open_to_all, all).unwrap();
        assert!(open(&open_to_all).unwrap_err().contains("others can write"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
