//! The flags of `docker buildx build`, taken apart as docker's parser (pflag) does.

use std::ffi::{OsStr, OsString};

/// Flags without a value; pflag also takes `--flag=false`.
const SWITCHES: &[&str] = &[
    "check", "compress", "debug", "detach", "force-rm", "load", "no-cache", "pull", "push",
    "quiet", "rm", "squash",
];

/// Flags with a value: `--flag=value` or `--flag value`.
const VALUED: &[&str] = &[
    "add-host",
    "allow",
    "annotation",
    "attest",
    "build-arg",
    "build-context",
    "builder",
    "cache-from",
    "cache-to",
    "call",
    "cgroup-parent",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "file",
    "iidfile",
    "invoke",
    "isolation",
    "label",
    "memory",
    "memory-swap",
    "metadata-file",
    "network",
    "no-cache-filter",
    "output",
    "platform",
    "policy",
    "print",
    "progress",
    "provenance",
    "resource",
    "root",
    "sbom",
    "secret",
    "security-opt",
    "server-config",
    "shm-size",
    "ssh",
    "tag",
    "target",
    "ulimit",
];

const SHORT: &[(char, &str)] = &[
    ('D', "debug"),
    ('c', "cpu-shares"),
    ('f', "file"),
    ('m', "memory"),
    ('o', "output"),
    ('q', "quiet"),
    ('t', "tag"),
];

/// What a flag is called on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Long(&'a str),
    Short(char),
}

/// Whether a flag takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arg {
    /// A flag of docker's without a value, or with one behind `=`.
    Switch {
        name: &'static str,
        value: Option<String>,
    },
    /// A flag of docker's and its value.
    Value { name: &'static str, value: OsString },
    /// The build's context, or what nobody knows.
    Word(OsString),
    /// A flag that is not docker's, with its value.
    Ours(Vec<OsString>),
}

/// Takes words apart. Docker's flags are docker's whatever else there is; `ours` is asked about the others.
pub(super) fn take_apart(
    words: impl IntoIterator<Item = OsString>,
    ours: impl Fn(Name<'_>) -> Option<Takes>,
) -> Vec<Arg> {
    let mut args = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            args.push(Arg::Word(word));
            continue;
        };
        if text == "--" {
            args.push(Arg::Word(word));
            args.extend(words.map(Arg::Word));
            break;
        } else if let Some(flag) = text.strip_prefix("--") {
            args.push(long(flag, &word, &mut words, &ours));
        } else if let Some(letters) = text.strip_prefix('-').filter(|l| !l.is_empty()) {
            short(letters, &mut words, &ours, &mut args);
        } else {
            args.push(Arg::Word(word));
        }
    }
    args
}

fn long(
    flag: &str,
    word: &OsStr,
    words: &mut impl Iterator<Item = OsString>,
    ours: impl Fn(Name<'_>) -> Option<Takes>,
) -> Arg {
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (flag, None),
    };
    if let Some(name) = find(SWITCHES, name) {
        return Arg::Switch { name, value };
    }
    if let Some(name) = find(VALUED, name) {
        return match value.map(OsString::from).or_else(|| words.next()) {
            Some(value) => Arg::Value { name, value },
            // Docker says best what is missing.
            None => Arg::Word(word.to_owned()),
        };
    }
    match ours(Name::Long(name)) {
        None => Arg::Word(word.to_owned()),
        Some(Takes::Value) if value.is_none() => {
            Arg::Ours([word.to_owned()].into_iter().chain(words.next()).collect())
        }
        Some(_) => Arg::Ours(vec![word.to_owned()]),
    }
}

/// `-q`, `-qt NAME`, `-tNAME`, `-t=NAME`.
fn short(
    letters: &str,
    words: &mut impl Iterator<Item = OsString>,
    ours: impl Fn(Name<'_>) -> Option<Takes>,
    args: &mut Vec<Arg>,
) {
    let mut rest = letters;
    while let Some(letter) = rest.chars().next() {
        let here = rest;
        rest = &rest[letter.len_utf8()..];
        let docker = SHORT.iter().find(|(short, _)| *short == letter);
        if let Some(&(_, name)) = docker {
            let behind = rest.strip_prefix('=').filter(|value| !value.is_empty());
            if SWITCHES.contains(&name) {
                let value = behind.map(str::to_owned);
                let ends = value.is_some();
                args.push(Arg::Switch { name, value });
                if ends {
                    return;
                }
                continue;
            }
            let value = match behind.unwrap_or(rest) {
                "" => words.next(),
                value => Some(value.into()),
            };
            args.push(match value {
                Some(value) => Arg::Value { name, value },
                None => Arg::Word(format!("-{letter}").into()),
            });
            return;
        }
        match ours(Name::Short(letter)) {
            Some(Takes::Nothing) => args.push(Arg::Ours(vec![format!("-{letter}").into()])),
            Some(Takes::Value) => {
                let flag = OsString::from(format!("-{here}"));
                let value = if rest.is_empty() { words.next() } else { None };
                args.push(Arg::Ours([flag].into_iter().chain(value).collect()));
                return;
            }
            None => {
                args.push(Arg::Word(format!("-{here}").into()));
                return;
            }
        }
    }
}

fn find(list: &[&'static str], name: &str) -> Option<&'static str> {
    list.iter().find(|known| **known == name).copied()
}

/// What docker is given, in the user's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DockerArgs(pub(super) Vec<Arg>);

impl DockerArgs {
    pub(crate) fn new(words: &[OsString]) -> Self {
        Self(take_apart(words.iter().cloned(), |_| None))
    }

    /// Whether a switch is on: the last one counts.
    pub(crate) fn is_on(&self, switch: &str) -> bool {
        self.0
            .iter()
            .rev()
            .find_map(|arg| match arg {
                Arg::Switch { name, value } if *name == switch => {
                    Some(value.as_deref().is_none_or(is_true))
                }
                _ => None,
            })
            .unwrap_or(false)
    }

    /// Whether docker says no more than the image's digest.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_on("quiet") || self.last("progress").is_some_and(|how| how == "quiet")
    }

    /// Whether a flag has a value `NAME` or `NAME=…`.
    pub(crate) fn gives(&self, flag: &str, name: &str) -> bool {
        let values = self.texts(flag);
        let mut names = values.iter().map(|value| value.split('=').next());
        names.any(|given| given == Some(name))
    }

    /// A word that nobody knows and that begins like this.
    pub(super) fn word_like(&self, begin: &str) -> Option<String> {
        let words = self.0.iter().filter_map(|arg| match arg {
            Arg::Word(word) => Some(word.to_string_lossy()),
            _ => None,
        });
        let before = words.take_while(|word| word != "--");
        let mut like = before.filter(|word| word.starts_with(begin));
        like.next().map(std::borrow::Cow::into_owned)
    }

    /// All values of a flag.
    pub(crate) fn values<'a>(&'a self, flag: &'a str) -> impl Iterator<Item = &'a OsStr> {
        self.0.iter().filter_map(move |arg| match arg {
            Arg::Value { name, value } if *name == flag => Some(value.as_os_str()),
            _ => None,
        })
    }

    /// All values of a flag, as text.
    pub(crate) fn texts(&self, flag: &str) -> Vec<String> {
        self.values(flag)
            .map(|value| value.to_string_lossy().into_owned())
            .collect()
    }

    /// The value of a flag that is given once, or that counts as it is given last.
    pub(crate) fn last<'a>(&'a self, flag: &'a str) -> Option<&'a OsStr> {
        self.values(flag).last()
    }

    /// Without a flag.
    pub(super) fn remove(&mut self, flag: &str) {
        self.0.retain(|arg| !matches!(arg, Arg::Value { name, .. } | Arg::Switch { name, .. } if *name == flag));
    }

    /// The words again, each flag by its long name.
    pub(super) fn words(&self) -> impl Iterator<Item = OsString> {
        self.0.iter().flat_map(|arg| match arg {
            Arg::Switch { name, value: None } => vec![format!("--{name}").into()],
            Arg::Switch {
                name,
                value: Some(value),
            } => vec![format!("--{name}={value}").into()],
            Arg::Value { name, value } => vec![format!("--{name}").into(), value.clone()],
            Arg::Word(word) => vec![word.clone()],
            Arg::Ours(words) => words.clone(),
        })
    }
}

/// As Go's `ParseBool`.
pub(super) fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        shlex::split(line)
            .expect("a line")
            .into_iter()
            .map(OsString::from)
            .collect()
    }

    fn again(line: &str) -> Vec<OsString> {
        DockerArgs::new(&words(line)).words().collect()
    }

    #[test]
    fn as_pflag_reads_them() {
        for (given, read) in [
            (".", "."),
            ("-t a:1 .", "--tag a:1 ."),
            ("-ta:1 .", "--tag a:1 ."),
            ("-t=a:1 .", "--tag a:1 ."),
            ("-t= .", "--tag '=' ."),
            ("--tag=a:1 .", "--tag a:1 ."),
            ("--tag a:1 --tag b:2 .", "--tag a:1 --tag b:2 ."),
            ("-qt a .", "--quiet --tag a ."),
            ("-qDf- .", "--quiet --debug --file - ."),
            ("-q=false .", "--quiet=false ."),
            ("-f - .", "--file - ."),
            ("-f -t .", "--file -t ."),
            ("--push=false .", "--push=false ."),
            ("--push .", "--push ."),
            ("--no-cache --pull .", "--no-cache --pull ."),
            ("--provenance false .", "--provenance false ."),
            (
                "--build-arg A=b=c --build-arg D .",
                "--build-arg A=b=c --build-arg D .",
            ),
            ("--secret id=x,src='a b' .", "--secret 'id=x,src=a b' ."),
            ("-", "-"),
            (". -t a", ". --tag a"),
            ("-- -t", "-- -t"),
            // A flag of tomorrow, and what is missing: docker's to judge.
            ("--tomorrow x -q .", "--tomorrow x --quiet ."),
            ("--tomorrow=x .", "--tomorrow=x ."),
            ("-qz .", "--quiet -z ."),
            (". -t", ". -t"),
            (". --tag", ". --tag"),
            (
                "--platform linux/amd64,linux/arm64 .",
                "--platform linux/amd64,linux/arm64 .",
            ),
        ] {
            assert_eq!(again(given), words(read), "{given}");
        }
    }

    #[test]
    fn what_they_say() {
        let args = DockerArgs::new(&words("--push --push=f -t a --tag=b -q=1 --load ."));
        assert!(!args.is_on("push"));
        assert!(args.is_on("quiet"));
        assert!(args.is_on("load"));
        assert!(!args.is_on("pull"));
        assert_eq!(args.texts("tag"), ["a", "b"]);
        assert_eq!(args.last("tag"), Some(OsStr::new("b")));
        assert_eq!(args.last("file"), None);
        assert!(args.is_quiet());
        assert!(DockerArgs::new(&words("--progress quiet .")).is_quiet());
        assert!(!DockerArgs::new(&words("-q=false --progress plain .")).is_quiet());
    }

    #[test]
    fn each_flag_once() {
        for name in VALUED {
            assert!(!SWITCHES.contains(name), "{name}");
        }
        for (_, name) in SHORT {
            assert!(SWITCHES.contains(name) || VALUED.contains(name), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn paths_of_any_bytes_pass() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = OsString::from_vec(vec![b'd', 0xff]);
        let given = ["-f".into(), odd.clone(), odd.clone()];
        let out: Vec<OsString> = DockerArgs::new(&given).words().collect();
        assert_eq!(out, ["--file".into(), odd.clone(), odd]);
    }
}
