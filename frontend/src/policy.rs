//! Which policies a user wants to decide, and where they are.

mod ready;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sociable_oci::registry::Reference;
use sociable_policy::spec::{self, CONTEXT, Place, REGISTRY, parse_parameters};
use sociable_policy::{Spec, builtin};
use sociable_policy_wasm::Bounds;

pub(crate) use ready::make_ready;

/// The policies that a user named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Each as `[INTERFACE=]POLICY[=PARAMETERS]`.
    pub(crate) specs: Vec<String>,
    /// Parameters for those that are named without.
    pub(crate) parameters: String,
    /// What components may use, where it is not the usual.
    pub(crate) limits: Bounds,
    /// Where one fails, go on as without it.
    pub(crate) fallback: bool,
}

impl Wanted {
    /// What a user wrote: policies separated by semicolons; `parameters` are for those without.
    pub(crate) fn parse(text: &str, parameters: &str) -> Result<Self, String> {
        let specs = spec::list(text).into_iter();
        let wanted = Self {
            specs: specs.map(str::to_owned).collect(),
            parameters: parameters.to_owned(),
            ..Self::default()
        };
        wanted.files()?;
        for spec in wanted.read(&nothing)? {
            let reference = &spec.reference;
            let why = match Place::of(reference) {
                Place::BuiltIn if !builtin::is(reference) => "is no policy that is built in",
                Place::Transport(_) => "is nowhere that a build looks",
                Place::Registry(reference) => {
                    let parsed = reference.parse::<Reference>();
                    parsed.map_err(|error| error.to_string())?;
                    continue;
                }
                Place::BuiltIn | Place::File(_) => continue,
            };
            return Err(format!(
                "{reference} {why}; a component is {REGISTRY}HOST/REPO:TAG, or a file in the build context `{CONTEXT}`, such as ./my.wasm"
            ));
        }
        Ok(wanted)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// The policies, with their parameters; `read` reads files of the context.
    pub(crate) fn read(
        &self,
        read: &dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Vec<Spec>, String> {
        let specs = self.specs.iter().map(|text| {
            let mut spec = Spec::parse(text, read).map_err(|error| error.to_string())?;
            let none = spec
                .parameters
                .as_object()
                .is_some_and(serde_json::Map::is_empty);
            if none {
                spec.parameters = parse_parameters(&spec.reference, &self.parameters, read)
                    .map_err(|error| error.to_string())?;
            }
            Ok(spec)
        });
        specs.collect()
    }

    /// The references of components in registries, each once.
    pub(crate) fn remote(&self) -> Result<Vec<String>, String> {
        let mut remote = Vec::new();
        for spec in self.read(&nothing)? {
            if let Place::Registry(reference) = Place::of(&spec.reference)
                && !remote.iter().any(|one| one == reference)
            {
                remote.push(reference.to_owned());
            }
        }
        Ok(remote)
    }

    /// Whether files of the context are needed.
    pub(crate) fn needs_context(&self) -> bool {
        self.files().is_ok_and(|files| !files.is_empty())
    }

    /// The files of the context that are needed.
    fn files(&self) -> Result<BTreeSet<String>, String> {
        let files = std::cell::RefCell::new(BTreeSet::new());
        let specs = self.read(&|file| {
            files.borrow_mut().insert(file.to_owned());
            nothing(file)
        })?;
        let mut files = files.into_inner();
        for spec in specs {
            if let Place::File(path) = Place::of(&spec.reference) {
                files.insert(path.to_owned());
            }
        }
        for file in &files {
            if file.starts_with('/') || file.split('/').any(|part| part == "..") {
                return Err(format!(
                    "{file} is outside of the build context `{CONTEXT}`: name it as it is called in there"
                ));
            }
        }
        Ok(files)
    }
}

/// What a file holds that is not to be looked at yet.
#[allow(clippy::unnecessary_wraps, reason = "as a file would be read")]
fn nothing(_: &str) -> std::io::Result<Vec<u8>> {
    Ok(b"null".to_vec())
}

/// A path without what says nothing.
pub(crate) fn plain(path: &str) -> String {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed() {
        let wanted = Wanted::parse(
            "span=adaptive; profile=trace=@traces/start.json; ./my.wasm; oci://r.example/p/x:1={\"a\":1}; oci://r.example/p/x:1",
            "",
        );
        let wanted = wanted.unwrap();
        let files: Vec<_> = wanted.files().unwrap().into_iter().collect();
        assert_eq!(files, ["./my.wasm", "traces/start.json"]);
        assert_eq!(wanted.remote().unwrap(), ["r.example/p/x:1"]);
        let text = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<Wanted>(&text).unwrap(), wanted);
        assert!(Wanted::parse("", "").unwrap().is_empty());
        assert_eq!(plain("./a//b"), "a/b");
    }

    #[test]
    fn parameters_that_were_given_apart() {
        let wanted = Wanted::parse("adaptive; size=span-size=1", "small=65536").unwrap();
        let specs = wanted.read(&nothing).unwrap();
        assert_eq!(specs[0].parameters["small"], 65536);
        assert_eq!(specs[1].parameters["span-size"], 1);
    }

    #[test]
    fn mistakes_are_named() {
        for (wrong, why) in [
            ("adaptiv", "build context `policy`"),
            ("oci:layout:1", "nowhere that a build looks"),
            ("oci://UPPER", "reference"),
            ("/etc/x.wasm", "outside"),
            ("profile=trace=@../x", "outside"),
            ("span=", "names no policy"),
        ] {
            let error = Wanted::parse(wrong, "").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
