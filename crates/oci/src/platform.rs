//! Platforms: parsed, printed, normalised and matched as containerd's `platforms` package (v1.0.0-rc.5) does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::null_default;

/// What an image runs on (image-spec, `image-index.md`, "platform").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture, a `GOARCH`.
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// Operating system, a `GOOS`.
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Operating system version, for Windows.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// Operating system features, for Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// CPU variant, such as `v7`.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a platform: {why}; expected OS, ARCH, OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64/v8"
)]
pub struct ParsePlatformError {
    text: String,
    why: &'static str,
}

impl Platform {
    /// `os/architecture`.
    #[must_use]
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            ..Self::default()
        }
    }

    /// `DefaultSpec`: this machine. On ARM with the variant that the processor reports.
    #[must_use]
    pub fn host() -> Self {
        let architecture = host_architecture();
        Self {
            variant: if matches!(architecture, "arm" | "arm64") {
                arm_variant().to_owned()
            } else {
                String::new()
            },
            ..Self::new(host_os(), architecture)
        }
    }

    /// `Normalize`: one spelling for what is the same.
    #[must_use]
    pub fn normalize(&self) -> Self {
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        let mut os_features = self.os_features.clone();
        os_features.sort_unstable();
        os_features.dedup();
        Self {
            architecture,
            os: normalize_os(&self.os),
            os_version: self.os_version.clone(),
            os_features,
            variant,
        }
    }

    /// `OnlyStrict(self).Match(candidate)`: whether `candidate` is this platform and not merely one that could run on
    /// it. Spelling does not matter (`arm64` is `arm64/v8`), nor does an OS feature that the candidate does not ask for.
    #[must_use]
    pub fn matches_strict(&self, candidate: &Self) -> bool {
        let wanted = self.normalize();
        let mut candidate = candidate.normalize();
        let windows = wanted.os == "windows";
        if windows {
            // "In prior versions, the win32k os feature was not considered for matching."
            candidate.os_features.retain(|f| f != "win32k");
        }
        wanted.os == candidate.os
            && wanted.architecture == candidate.architecture
            && wanted.variant == candidate.variant
            && (!windows || windows_version_matches(&wanted.os_version, &candidate.os_version))
            && candidate
                .os_features
                .iter()
                .all(|f| wanted.os_features.contains(f))
    }

    /// `FormatAll`: as [`fmt::Display`], with OS version and features: `windows(10.0.17763+win32k)/amd64`.
    #[must_use]
    pub fn format_all(&self) -> String {
        let mut features: Vec<&str> = self
            .os_features
            .iter()
            .map(String::as_str)
            .filter(|f| !f.is_empty())
            .collect();
        features.sort_unstable();
        features.dedup();
        if self.os.is_empty() || (self.os_version.is_empty() && features.is_empty()) {
            return self.to_string();
        }
        let mut os = format!("{}({}", self.os, encode_option(&self.os_version));
        for feature in features {
            os.push('+');
            os.push_str(&encode_option(feature));
        }
        os.push(')');
        join(&os, &self.architecture, &self.variant)
    }
}

impl fmt::Display for Platform {
    /// `Format`: `os/architecture/variant` without what is empty, `unknown` without an OS.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.pad("unknown");
        }
        f.pad(&join(&self.os, &self.architecture, &self.variant))
    }
}

fn join(os: &str, architecture: &str, variant: &str) -> String {
    let parts: Vec<&str> = [os, architecture, variant]
        .into_iter()
        .filter(|s| !s.is_empty())
        .collect();
    parts.join("/")
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    /// `Parse`: what is left out comes from this machine.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why| ParsePlatformError {
            text: text.to_owned(),
            why,
        };
        if text.contains('*') {
            return Err(fail("wildcards are not supported"));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 {
            return Err(fail("it has more than three parts"));
        }
        let word = |s: &str| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if !parts[1..].iter().all(|part| word(part)) {
            return Err(fail(
                "a part is empty or has other characters than A-Z a-z 0-9 _ . -",
            ));
        }
        let (os, os_version, os_features) = parse_os(parts[0]).map_err(fail)?;
        let mut platform = Self {
            os: normalize_os(os),
            os_version,
            os_features,
            ..Self::default()
        };
        match parts[1..] {
            [] if KNOWN_OS.contains(&platform.os.as_str()) => {
                host_architecture().clone_into(&mut platform.architecture);
                if platform.architecture == "arm" && arm_variant() != "v7" {
                    arm_variant().clone_into(&mut platform.variant);
                }
            }
            [] => {
                (platform.architecture, platform.variant) = normalize_architecture(parts[0], "");
                drop_v7(&mut platform);
                if !KNOWN_ARCHITECTURE.contains(&platform.architecture.as_str()) {
                    return Err(fail(
                        "this is neither a known operating system nor a known architecture",
                    ));
                }
                host_os().clone_into(&mut platform.os);
            }
            [architecture] => {
                (platform.architecture, platform.variant) =
                    normalize_architecture(architecture, "");
                drop_v7(&mut platform);
            }
            [architecture, variant, ..] => {
                (platform.architecture, platform.variant) =
                    normalize_architecture(architecture, variant);
                if platform.architecture == "arm64" && platform.variant.is_empty() {
                    "v8".clone_into(&mut platform.variant);
                }
            }
        }
        Ok(platform)
    }
}

/// The most common ARM is written without its variant.
fn drop_v7(platform: &mut Platform) {
    if platform.architecture == "arm" && platform.variant == "v7" {
        platform.variant.clear();
    }
}

/// `OS`, `OS(VERSION)`, `OS(VERSION+FEATURE+…)`.
fn parse_os(part: &str) -> Result<(&str, String, Vec<String>), &'static str> {
    let (os, options) = match part.split_once('(') {
        None => (part, ""),
        Some((os, rest)) => (
            os,
            rest.strip_suffix(')')
                .ok_or("the OS options lack their closing parenthesis")?,
        ),
    };
    if os.is_empty()
        || !os
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return Err("the first part is empty or has other characters than A-Z a-z 0-9 _ -");
    }
    if !options
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_.%-+".contains(&b))
    {
        return Err("the OS options have other characters than A-Z a-z 0-9 _ . - + %");
    }
    let mut options = options.split('+').enumerate().map(|(i, option)| {
        if i > 0 && option.is_empty() {
            return Err("an OS feature is empty");
        }
        decode_option(option).ok_or("an OS option has a broken %-escape")
    });
    let version = options.next().transpose()?.unwrap_or_default();
    let features = options
        .filter(|f| f.as_ref().map_or(true, |f| !f.is_empty()))
        .collect::<Result<_, _>>()?;
    Ok((os, version, features))
}

fn decode_option(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            out.push(byte[0]);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

fn encode_option(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '+' => out.push_str("%2B"),
            '(' => out.push_str("%28"),
            ')' => out.push_str("%29"),
            '/' => out.push_str("%2F"),
            c => out.push(c),
        }
    }
    out
}

// Both lists: platforms/database.go.
const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
const KNOWN_ARCHITECTURE: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

fn normalize_os(os: &str) -> String {
    if os.is_empty() {
        return host_os().to_owned();
    }
    let os = os.to_lowercase();
    if os == "macos" {
        "darwin".to_owned()
    } else {
        os
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", if v == "v1" { "" } else { v }),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", v) => ("arm64", v),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

fn host_os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

fn host_architecture() -> &'static str {
    let little = cfg!(target_endian = "little");
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if little => "ppc64le",
        "powerpc64" => "ppc64",
        "powerpc" => "ppc",
        "loongarch64" => "loong64",
        "mips" if little => "mipsle",
        "mips64" if little => "mips64le",
        "wasm32" | "wasm64" => "wasm",
        same => same,
    }
}

/// The variant of an ARM processor: Linux tells it in `/proc/cpuinfo`, and 64-bit ARM is `v8` where nobody tells.
fn arm_variant() -> &'static str {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    arm_variant_from(&info, host_architecture())
}

fn arm_variant_from(cpuinfo: &str, architecture: &str) -> &'static str {
    let field = |name: &str| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| {
                value
                    .split(':')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_lowercase()
            })
    };
    let fallback = || {
        if architecture == "arm64" {
            "8".to_owned()
        } else {
            "7".to_owned()
        }
    };
    let mut variant = field("cpu architecture").unwrap_or_else(fallback);
    // A Raspberry Pi with ARMv6 reports 7.
    if architecture == "arm"
        && variant == "7"
        && field("model name").is_some_and(|model| model.starts_with("armv6-compatible"))
    {
        "6".clone_into(&mut variant);
    }
    match variant.as_str() {
        "8" | "aarch64" => "v8",
        "7" | "7m" | "?(12)" | "?(13)" | "?(14)" | "?(15)" | "?(16)" | "?(17)" => "v7",
        "6" | "6tej" => "v6",
        "5" | "5t" | "5te" | "5tej" => "v5",
        "4" | "4t" => "v4",
        "3" => "v3",
        _ => "unknown",
    }
}

/// `checkWindowsHostAndContainerCompat`: exact builds before Windows Server 2022, from the previous long-term release
/// up to the host's own build after it. An unknown or absent version matches everything.
fn windows_version_matches(host: &str, container: &str) -> bool {
    const LTSC_2022: u16 = 20348;
    let parse = |version: &str| -> (u8, u8, u16) {
        let mut parts = version.split('.');
        let mut next = || parts.next().unwrap_or_default();
        let (major, minor, build) = (next().parse(), next().parse(), next().parse());
        match (major, minor, build) {
            (Ok(major), Ok(minor), Ok(build)) => (major, minor, build),
            _ => (0, 0, 0),
        }
    };
    let host = parse(host);
    if host == (0, 0, 0) || container.is_empty() {
        return true;
    }
    let container = parse(container);
    if (host.0, host.1) != (container.0, container.1) {
        return false;
    }
    if host.2 < LTSC_2022 {
        return host.2 == container.2;
    }
    // With two long-term releases so far (2022 and 2025, build 26100), hosts of both go down to 2022.
    (LTSC_2022..=host.2).contains(&container.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn parsed_and_printed() {
        for (text, os, architecture, variant, printed) in [
            ("linux/amd64", "linux", "amd64", "", "linux/amd64"),
            ("linux/x86_64", "linux", "amd64", "", "linux/amd64"),
            ("Linux/AMD64/v1", "linux", "amd64", "", "linux/amd64"),
            ("linux/amd64/v3", "linux", "amd64", "v3", "linux/amd64/v3"),
            ("linux/arm64", "linux", "arm64", "", "linux/arm64"),
            ("linux/arm64/v8", "linux", "arm64", "v8", "linux/arm64/v8"),
            ("linux/arm64/8", "linux", "arm64", "v8", "linux/arm64/v8"),
            (
                "linux/aarch64/v9.0",
                "linux",
                "arm64",
                "v9",
                "linux/arm64/v9",
            ),
            ("linux/arm", "linux", "arm", "", "linux/arm"),
            ("linux/arm/v7", "linux", "arm", "v7", "linux/arm/v7"),
            ("linux/armel", "linux", "arm", "v6", "linux/arm/v6"),
            ("linux/armhf", "linux", "arm", "", "linux/arm"),
            ("macos/arm64", "darwin", "arm64", "", "darwin/arm64"),
            ("linux/i386", "linux", "386", "", "linux/386"),
            ("foo/bar", "foo", "bar", "", "foo/bar"),
        ] {
            let p = parse(text);
            assert_eq!(
                (&*p.os, &*p.architecture, &*p.variant),
                (os, architecture, variant),
                "{text}"
            );
            assert_eq!(p.to_string(), printed);
        }
        assert_eq!(parse("arm64").os, host_os());
        assert_eq!(parse("linux").architecture, host_architecture());
        assert_eq!(Platform::default().to_string(), "unknown");
    }

    #[test]
    fn os_options() {
        let p = parse("windows(10.0.17763+win32k+a%2Bb)/amd64");
        assert_eq!((&*p.os, &*p.os_version), ("windows", "10.0.17763"));
        assert_eq!(p.os_features, ["win32k", "a+b"]);
        assert_eq!(p.to_string(), "windows/amd64");
        assert_eq!(p.format_all(), "windows(10.0.17763+a%2Bb+win32k)/amd64");
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "*",
            "linux/*",
            "linux/",
            "linux//v8",
            "a/b/c/d",
            "toaster",
            "linux(/amd64",
            "li nux/amd64",
            "linux(1+)/amd64",
            "linux(%zz)/amd64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn strict_match() {
        for (wanted, candidate, expected) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/386", false),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v2", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm/v7", false),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/amd64", "windows/amd64", false),
            (
                "windows(10.0.17763)/amd64",
                "windows(10.0.17763.1)/amd64",
                true,
            ),
            (
                "windows(10.0.17763)/amd64",
                "windows(10.0.17134)/amd64",
                false,
            ),
            (
                "windows(10.0.26100)/amd64",
                "windows(10.0.20348)/amd64",
                true,
            ),
            (
                "windows(10.0.26100)/amd64",
                "windows(10.0.17763)/amd64",
                false,
            ),
            ("windows/amd64", "windows(10.0.17763+win32k)/amd64", true),
            ("linux/amd64", "linux(+x)/amd64", false),
            ("linux(+x+y)/amd64", "linux(+y)/amd64", true),
        ] {
            assert_eq!(
                parse(wanted).matches_strict(&parse(candidate)),
                expected,
                "{wanted} {candidate}"
            );
        }
    }

    #[test]
    fn arm_variants_of_cpuinfo() {
        let pi = "processor\t: 0\nmodel name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7\n";
        assert_eq!(arm_variant_from(pi, "arm"), "v6");
        assert_eq!(arm_variant_from("CPU architecture: 8\n", "arm64"), "v8");
        assert_eq!(arm_variant_from("CPU architecture: 7\n", "arm"), "v7");
        assert_eq!(arm_variant_from("", "arm64"), "v8");
    }
}
