//! What the user asked for: `docker buildx build`'s flags, as far as frontends see them.
//!
//! BuildKit puts them into the environment, one variable each, `BUILDKIT_FRONTEND_OPT_<n>=<key>=<value>`, in any order. Not to be
//! seen are tags, outputs, secrets and credentials.

use std::collections::BTreeMap;

/// Keys begin with this for `--build-arg`.
const BUILD_ARG: &str = "build-arg:";
const VARIABLE: &str = "BUILDKIT_FRONTEND_OPT_";

/// A build's options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    all: BTreeMap<String, String>,
}

impl Options {
    /// Those that BuildKit gave this process.
    #[must_use]
    pub fn from_env() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            name.to_str()?.strip_prefix(VARIABLE)?;
            value.into_string().ok()
        });
        let pairs = variables.filter_map(|option| {
            let (key, value) = option.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Self {
            all: pairs.collect(),
        }
    }

    /// Whether BuildKit started this process as a frontend.
    #[must_use]
    pub fn are_there() -> bool {
        std::env::vars_os().any(|(name, _)| {
            name.to_str()
                .is_some_and(|n| n.starts_with(VARIABLE) || n == "BUILDKIT_SESSION_ID")
        })
    }

    /// An option: `target`, `platform`, `no-cache`, `cmdline`, ….
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all.get(key).map(String::as_str)
    }

    /// A `--build-arg`.
    #[must_use]
    pub fn build_arg(&self, name: &str) -> Option<&str> {
        self.get(&format!("{BUILD_ARG}{name}"))
    }

    /// All build arguments: name and value.
    pub fn build_args(&self) -> impl Iterator<Item = (&str, &str)> {
        let args = self.all.iter();
        args.filter_map(|(key, value)| Some((key.strip_prefix(BUILD_ARG)?, value.as_str())))
    }

    /// All options, to be handed on.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.all
    }

    /// Takes a build argument out.
    pub fn remove_build_arg(&mut self, name: &str) -> Option<String> {
        self.all.remove(&format!("{BUILD_ARG}{name}"))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self {
            all: pairs
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_arguments_are_options_with_a_prefix() {
        let mut options: Options = [("build-arg:A", "x=y"), ("target", "t"), ("label:l", "v")]
            .into_iter()
            .collect();
        assert_eq!(options.build_arg("A"), Some("x=y"));
        assert_eq!(options.get("target"), Some("t"));
        assert_eq!(options.build_args().collect::<Vec<_>>(), [("A", "x=y")]);
        assert_eq!(options.remove_build_arg("A").as_deref(), Some("x=y"));
        assert_eq!(options.all().len(), 2);
    }
}
