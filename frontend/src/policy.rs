//! Which policies decide: those that are built in, by name.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sociable_policy::{Interface, Policies, Spec, builtin};

/// A policy that was chosen, as it stands in a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct One {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    name: String,
    parameters: Value,
}

/// The policies of a build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<One>", into = "Vec<One>")]
pub(crate) struct Chosen {
    named: Vec<One>,
    policies: Policies,
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.named == other.named
    }
}

impl Eq for Chosen {}

impl From<Chosen> for Vec<One> {
    fn from(chosen: Chosen) -> Self {
        chosen.named
    }
}

impl TryFrom<Vec<One>> for Chosen {
    type Error = String;

    fn try_from(named: Vec<One>) -> Result<Self, String> {
        let mut policies = Policies::default();
        for one in &named {
            let policy = builtin::load(&one.name, &one.parameters).map_err(|e| e.to_string())?;
            let interface = match &one.interface {
                Some(name) => Some(Interface::named(name).ok_or("no such interface")?),
                None => None,
            };
            policies.add(policy, interface).map_err(|e| e.to_string())?;
        }
        Ok(Self { named, policies })
    }
}

impl Chosen {
    /// What a user wrote: `[INTERFACE=]POLICY[=PARAMETERS]`, several separated by semicolons; `parameters` are for those without.
    pub(crate) fn parse(text: &str, parameters: &str) -> Result<Self, String> {
        let no_files = |_: &str| Err(std::io::Error::other("a build reads no files here"));
        let mut named = Vec::new();
        for one in text.split(';').map(str::trim).filter(|one| !one.is_empty()) {
            let mut spec = Spec::parse(one, &no_files).map_err(|e| e.to_string())?;
            let none = spec
                .parameters
                .as_object()
                .is_some_and(serde_json::Map::is_empty);
            if none {
                let given =
                    sociable_policy::spec::parse_parameters(&spec.reference, parameters, &no_files);
                spec.parameters = given.map_err(|e| e.to_string())?;
            }
            named.push(One {
                interface: spec.interface.map(|interface| interface.name().to_owned()),
                name: spec.reference,
                parameters: spec.parameters,
            });
        }
        Self::try_from(named)
    }

    pub(crate) fn policies(&self) -> Policies {
        self.policies.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_and_handed_to_a_step() {
        let chosen = Chosen::parse(
            "span=adaptive; store-incompressible=percent=90",
            "small=65536",
        );
        let chosen = chosen.unwrap();
        assert_eq!(chosen.policies().used().len(), 2);
        let text = serde_json::to_string(&chosen).unwrap();
        assert!(text.contains("65536") && text.contains("90"), "{text}");
        assert_eq!(serde_json::from_str::<Chosen>(&text).unwrap(), chosen);
        assert_eq!(Chosen::parse("", "").unwrap(), Chosen::default());
        for (wrong, why) in [
            ("oci://x/y:1", "built in"),
            ("adaptive=small=@file", "reads no files"),
            ("adaptive;size", "both adaptive and size"),
        ] {
            let error = Chosen::parse(wrong, "").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
