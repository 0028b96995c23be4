//! Policies as components: the project's own, and those that misbehave.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::{skip, target_dir};

/// The file of a component: `sociable_file_aligned`. Where they were not built, says so and gives nothing.
pub fn component(name: &str) -> Option<PathBuf> {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        std::env::var_os("SOCIABLE_PLUGINS").map_or_else(
            || target_dir().join("plugins/wasm32-unknown-unknown/release"),
            PathBuf::from,
        )
    });
    let file = dir.join(format!("{name}.wasm"));
    if file.is_file() {
        return Some(file);
    }
    skip(
        "policies that are components: they were not built (rustup target add wasm32-unknown-unknown)",
    );
    None
}

/// The file of a policy in JavaScript or Python: `ml-weights`. Where they were not built, says so and gives nothing.
pub fn interpreted(name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("SOCIABLE_PLUGINS_INTERPRETED").map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| crate::here().join("../plugins/dist"));
    let file = dir.join(format!("{name}.wasm"));
    if file.is_file() {
        return Some(file);
    }
    skip("policies in JavaScript and Python: they were not built (plugins/build.sh)");
    None
}

/// A component that is kept as text under `tests/policies`.
///
/// # Panics
/// When it is not there, or no text of a component.
pub fn text(name: &str) -> Vec<u8> {
    let file = crate::here().join("policies").join(format!("{name}.wat"));
    wat::parse_file(&file).expect("the text of a component")
}
