//! What every policy is.

use crate::Result;

/// What every policy implements.
pub trait Plugin: Sized + 'static {
    /// What it is.
    const DESCRIPTION: Description;

    /// The policy with these parameters. Called once, before anything is asked.
    ///
    /// # Errors
    /// What is wrong with the parameters.
    fn configure(parameters: Parameters<'_>) -> Result<Self>;
}

/// What a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Its name: lower case letters, digits and hyphens.
    pub name: &'static str,
    /// Its version, as semantic versions are written; `env!("CARGO_PKG_VERSION")` will do.
    pub version: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A JSON schema of its parameters (draft 2020-12, of an object), perhaps by `include_str!`. Empty: it takes none.
    pub parameters: &'static str,
}

/// What people told a policy: a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    /// Parameters with this JSON text, for tests.
    #[must_use]
    pub fn new(json: &'a str) -> Self {
        Self(json)
    }

    /// The JSON text.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.0
    }

    /// As a type of your own, or as `serde_json::Value`.
    ///
    /// # Errors
    /// Where the JSON does not fit the type.
    #[cfg(feature = "json")]
    pub fn parse<T: serde::de::DeserializeOwned>(self) -> Result<T> {
        serde_json::from_str(self.0).map_err(|error| {
            // Nobody wrote this text by lines.
            let place = format!(" at line {} column {}", error.line(), error.column());
            let text = error.to_string();
            crate::Error::new(text.strip_suffix(&place).unwrap_or(&text))
        })
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_do_not_fit() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Depth {
            depth: u32,
        }
        let depth = |json| Parameters::new(json).parse::<Depth>();
        assert_eq!(depth(r#"{"depth": 3}"#).unwrap().depth, 3);
        let error = depth(r#"{"deep": 3}"#).unwrap_err().to_string();
        assert_eq!(error, "unknown field `deep`, expected `depth`");
    }
}
