//! The user's options: build arguments, or words behind the reference in the line `# syntax=`.

use sociable_buildkit::Options;
use sociable_buildkit::llb::Network;
use sociable_layer::pack::BUILD_LEVEL;
use sociable_oci::registry::Reference;
use sociable_policy::size;
use sociable_soci::names;
use sociable_soci::outcome::SkipReason;

use crate::policy::Wanted;
use crate::task::Settings;

/// Every option begins with this.
const PREFIX: &str = "SOCI_";

/// How image and index leave the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    /// Without an index.
    #[default]
    None,
    /// BuildKit's exporter writes the image; layers and index are in the registry before.
    Image,
    /// The result is an image layout.
    Layout,
    /// The engine pushes.
    Push,
}

/// All options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) output: Output,
    pub(crate) repositories: Vec<Reference>,
    pub(crate) settings: Settings,
    pub(crate) policies: Wanted,
    pub(crate) level: u8,
    pub(crate) base: bool,
    pub(crate) plain_http: Vec<String>,
    /// `SOURCE_DATE_EPOCH`.
    pub(crate) epoch: Option<i64>,
    pub(crate) network: Network,
}

/// Names, and what they mean, for messages and for the documentation.
pub(crate) const KNOWN: &[(&str, &str)] = &[
    (
        "SOCI_OUTPUT",
        "image, layout, push or none: how image and index leave the build",
    ),
    (
        "SOCI_REPO",
        "REPOSITORY[:TAG], several separated by commas: where they are pushed to",
    ),
    (
        "SOCI_SPAN_SIZE",
        "bytes of tar from one span to the next, such as 4MiB",
    ),
    (
        "SOCI_MIN_LAYER_SIZE",
        "layers with fewer compressed bytes get no zTOC, such as 10MiB",
    ),
    ("SOCI_COMPRESSION_LEVEL", "0 to 9"),
    (
        "SOCI_BASE",
        "true or false: index the base image's layers, too",
    ),
    (
        "SOCI_PREFETCH",
        "files that are fetched first, separated by commas",
    ),
    (
        "SOCI_POLICY",
        "[INTERFACE=]POLICY[=PARAMETERS], several separated by semicolons: who decides, such as adaptive",
    ),
    (
        "SOCI_POLICY_PARAMS",
        "parameters of a policy that is named without: JSON, or NAME=VALUE by commas",
    ),
    (
        "SOCI_POLICY_LIMITS",
        "fuel=MILLIONS,memory=SIZE,output=SIZE: what a component may use",
    ),
    (
        "SOCI_POLICY_FALLBACK",
        "true or false: where a policy fails, go on as without it",
    ),
    ("SOCI_VERSION", "v2"),
    (
        "SOCI_PLAIN_HTTP",
        "HOST[:PORT], several separated by commas: registries without TLS",
    ),
];

/// A message with the names that options have here.
pub(crate) fn in_a_build(message: &str) -> String {
    let names = [
        ("--min-layer-size", "SOCI_MIN_LAYER_SIZE"),
        ("--policy-fuel", "fuel in SOCI_POLICY_LIMITS"),
        ("--policy-memory", "memory in SOCI_POLICY_LIMITS"),
        ("--policy-output", "output in SOCI_POLICY_LIMITS"),
        ("--policy ", "SOCI_POLICY="),
    ];
    let message = message.to_owned();
    (names.iter()).fold(message, |text, (from, to)| text.replace(from, to))
}

/// Why a layer is not indexed.
pub(crate) fn why(reason: &SkipReason) -> String {
    in_a_build(&reason.to_string())
}

/// Why an option cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionError {
    #[error("{name} is no option of Sociable; there are:\n{}", known())]
    Unknown { name: String },
    #[error("{name}={value}: {why}")]
    Value {
        name: &'static str,
        value: String,
        why: String,
    },
    #[error("SOCI_OUTPUT={output} needs SOCI_REPO: {what}")]
    NoRepository {
        output: &'static str,
        what: &'static str,
    },
}

fn known() -> String {
    let lines = KNOWN.iter();
    let lines = lines.map(|(name, what)| format!("  {name:<23} {what}"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Asked {
    /// Takes our options out of those of the build.
    pub(crate) fn take(options: &mut Options) -> Result<Self, OptionError> {
        let words = options.get("cmdline").unwrap_or_default();
        let words = words.split_whitespace().skip(1);
        let mut given: Vec<(String, String)> = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) if name.starts_with(PREFIX) => {
                    given.push((name.to_owned(), value.to_owned()));
                }
                _ => {
                    let name = word.to_owned();
                    return Err(OptionError::Unknown { name });
                }
            }
        }
        // Later ones win.
        given.extend(
            options
                .build_args()
                .filter(|(name, _)| name.starts_with(PREFIX))
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let mut asked = Self::default_of(options);
        for (name, value) in &given {
            asked.set(name, value)?;
            options.remove_build_arg(name);
        }
        asked.choose(&given)?;
        asked.check()?;
        Ok(asked)
    }

    fn default_of(options: &Options) -> Self {
        let epoch = options.build_arg("SOURCE_DATE_EPOCH").unwrap_or_default();
        Self {
            output: Output::None,
            repositories: Vec::new(),
            settings: Settings {
                span_size: names::DEFAULT_SPAN_SIZE,
                min_layer_size: names::DEFAULT_MIN_LAYER_SIZE,
                prefetch: Vec::new(),
                policies: Vec::new(),
                by: names::DEFAULT_BUILD_TOOL.to_owned(),
            },
            policies: Wanted::default(),
            level: BUILD_LEVEL,
            base: true,
            plain_http: Vec::new(),
            // It may also be a word, which is dockerfile.v0's to understand.
            epoch: epoch.parse().ok(),
            network: Network::from_option(options.get("force-network-mode")),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let Some((name, _)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            let name = name.to_owned();
            return Err(OptionError::Unknown { name });
        };
        let wrong = |why: String| OptionError::Value {
            name,
            value: value.to_owned(),
            why,
        };
        match *name {
            "SOCI_OUTPUT" => {
                self.output = match value {
                    "image" => Output::Image,
                    "layout" => Output::Layout,
                    "push" => Output::Push,
                    "none" | "" => Output::None,
                    _ => return Err(wrong("it is image, layout, push or none".to_owned())),
                }
            }
            "SOCI_REPO" => {
                let repositories = list(value).map(|one| one.parse().map_err(|e| (one, e)));
                self.repositories = repositories.collect::<Result<_, _>>().map_err(
                    |(_, error): (_, sociable_oci::registry::reference::ParseReferenceError)| {
                        wrong(error.to_string())
                    },
                )?;
            }
            "SOCI_SPAN_SIZE" => {
                self.settings.span_size = size::parse(value).map_err(wrong)?;
                if self.settings.span_size == 0 {
                    return Err(wrong("a span has at least one byte".to_owned()));
                }
            }
            "SOCI_MIN_LAYER_SIZE" => {
                self.settings.min_layer_size = size::parse(value).map_err(wrong)?;
            }
            "SOCI_COMPRESSION_LEVEL" => {
                let level = value.parse().ok().filter(|level| *level <= 9);
                self.level = level.ok_or_else(|| wrong("levels are 0 to 9".to_owned()))?;
            }
            "SOCI_BASE" => self.base = truth(value).map_err(wrong)?,
            "SOCI_PREFETCH" => self.settings.prefetch = list(value).map(str::to_owned).collect(),
            // Together, when all were seen.
            "SOCI_POLICY" | "SOCI_POLICY_PARAMS" => {}
            "SOCI_POLICY_LIMITS" => self.policies.limits = value.parse().map_err(wrong)?,
            "SOCI_POLICY_FALLBACK" => self.policies.fallback = truth(value).map_err(wrong)?,
            "SOCI_VERSION" if value == "v2" || value == "2" => {}
            "SOCI_VERSION" => {
                return Err(wrong(
                    "a build makes an index v2; an index v1 is made beside a pushed image with `sociable create`".to_owned(),
                ));
            }
            _ => self.plain_http = list(value).map(str::to_owned).collect(),
        }
        Ok(())
    }

    /// Takes the policies, when their parameters are known.
    fn choose(&mut self, given: &[(String, String)]) -> Result<(), OptionError> {
        let last = |wanted: &str| {
            let found = given.iter().rev().find(|(name, _)| name == wanted);
            found.map_or("", |(_, value)| value.as_str())
        };
        let (value, parameters) = (last("SOCI_POLICY"), last("SOCI_POLICY_PARAMS"));
        let named = Wanted::parse(value, parameters).map_err(|why| {
            let name = "SOCI_POLICY";
            let value = value.to_owned();
            OptionError::Value { name, value, why }
        })?;
        let Wanted {
            limits, fallback, ..
        } = self.policies;
        self.policies = Wanted {
            limits,
            fallback,
            ..named
        };
        Ok(())
    }

    fn check(&self) -> Result<(), OptionError> {
        let (output, what) = match self.output {
            Output::Image => (
                "image",
                "the repository of `-t`, where layers and index are put before BuildKit pushes the image",
            ),
            Output::Push => ("push", "REPOSITORY:TAG, where the image is pushed to"),
            Output::None | Output::Layout => return Ok(()),
        };
        if self.repositories.is_empty() {
            return Err(OptionError::NoRepository { output, what });
        }
        Ok(())
    }
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pairs: &[(&str, &str)]) -> (Result<Asked, OptionError>, Options) {
        let mut options = pairs.iter().copied().collect();
        (Asked::take(&mut options), options)
    }

    #[test]
    fn our_options_are_taken_out_and_others_stay() {
        let (asked, options) = take(&[
            ("build-arg:SOCI_OUTPUT", "image"),
            (
                "build-arg:SOCI_REPO",
                "registry.example/app, registry.example/b:1",
            ),
            ("build-arg:SOCI_SPAN_SIZE", "1MiB"),
            ("build-arg:VERSION", "1"),
            ("target", "x"),
        ]);
        let asked = asked.unwrap();
        assert_eq!(asked.output, Output::Image);
        assert_eq!(asked.repositories.len(), 2);
        assert_eq!(asked.settings.span_size, 1 << 20);
        let left: Vec<_> = options.all().keys().map(String::as_str).collect();
        assert_eq!(left, ["build-arg:VERSION", "target"]);
    }

    #[test]
    fn words_of_the_syntax_line_count_less_than_arguments() {
        let words = "registry.example/sociable:1 SOCI_OUTPUT=layout SOCI_BASE=false";
        let (asked, _) = take(&[("cmdline", words), ("build-arg:SOCI_BASE", "true")]);
        let asked = asked.unwrap();
        assert_eq!((asked.output, asked.base), (Output::Layout, true));
    }

    #[test]
    fn mistakes_are_named() {
        let message = |pairs: &[(&str, &str)]| take(pairs).0.unwrap_err().to_string();
        let unknown = message(&[("build-arg:SOCI_SPANSIZE", "1")]);
        assert!(
            unknown.starts_with("SOCI_SPANSIZE is no option"),
            "{unknown}"
        );
        assert!(KNOWN.iter().all(|(name, _)| unknown.contains(name)));
        for word in ["layout", "soci_output=layout"] {
            let unknown = message(&[("cmdline", &format!("registry.example/sociable:1 {word}"))]);
            assert!(
                unknown.starts_with(&format!("{word} is no option")),
                "{unknown}"
            );
        }
        for (name, value, why) in [
            ("SOCI_OUTPUT", "images", "image, layout"),
            ("SOCI_SPAN_SIZE", "big", "4MiB"),
            ("SOCI_SPAN_SIZE", "0", "one byte"),
            ("SOCI_COMPRESSION_LEVEL", "10", "0 to 9"),
            ("SOCI_REPO", "UPPER CASE", "reference"),
            ("SOCI_VERSION", "v1", "create"),
            ("SOCI_POLICY", "nobody", "no policy"),
            ("SOCI_POLICY_LIMITS", "fuel=0", "fuel=MILLIONS"),
        ] {
            let text = message(&[(&format!("build-arg:{name}"), value)]);
            assert!(text.contains(why), "{name}={value}: {text}");
        }
        let missing = message(&[("build-arg:SOCI_OUTPUT", "push")]);
        assert!(missing.contains("SOCI_REPO"), "{missing}");
    }

    #[test]
    fn a_layer_that_is_too_small_names_our_option() {
        let text = why(&SkipReason::TooSmall {
            size: 1,
            minimum: 2,
        });
        assert!(text.contains("(SOCI_MIN_LAYER_SIZE)"), "{text}");
    }

    #[test]
    fn every_known_option_can_be_set() {
        for (name, value) in [
            ("SOCI_OUTPUT", "none"),
            ("SOCI_REPO", "a"),
            ("SOCI_SPAN_SIZE", "1"),
            ("SOCI_MIN_LAYER_SIZE", "0"),
            ("SOCI_COMPRESSION_LEVEL", "0"),
            ("SOCI_BASE", "false"),
            ("SOCI_PREFETCH", "/a,/b"),
            ("SOCI_POLICY", "span=adaptive;store-incompressible"),
            ("SOCI_POLICY_PARAMS", "{}"),
            ("SOCI_POLICY_LIMITS", "fuel=1"),
            ("SOCI_POLICY_FALLBACK", "true"),
            ("SOCI_VERSION", "v2"),
            ("SOCI_PLAIN_HTTP", "registry.example:5000"),
        ] {
            take(&[(&format!("build-arg:{name}"), value)]).0.unwrap();
        }
        assert_eq!(KNOWN.len(), 13);
    }
}
