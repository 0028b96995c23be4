//! Whether a component is a policy that can be used.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use sociable_oci::Access;
use sociable_policy::compression::{MIN_FILE, Sample, file_level, layer_choice};
use sociable_policy::span::trial;
use sociable_policy::{Entry, Kind, Layer, Policy, PolicyError, Spec, order};

use crate::error::CliError;
use crate::output::{print, print_json};
use crate::policy::HostArgs;
use crate::policy::fetch::Component;
use crate::progress::Shown;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The component: a file or `oci://HOST/REPO:TAG`, with =PARAMETERS if it needs some
    #[arg(value_name = "POLICY[=PARAMETERS]")]
    policy: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// What was found.
#[derive(Serialize)]
struct Found {
    policy: String,
    digest: String,
    checks: Vec<Passed>,
}

#[derive(Serialize)]
struct Passed {
    check: &'static str,
    result: String,
}

pub(super) fn run(args: &Check, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let spec = Spec::parse(&args.policy, &|file| std::fs::read(file))
        .map_err(|error| CliError::usage(error.to_string()))?;
    let host = args.host.host(shown)?;
    let mut checks = Vec::new();
    let mut passed = |check, result: String| checks.push(Passed { check, result });

    let began = Instant::now();
    let opened = args
        .host
        .open(&host, &Component::fetch(&spec.reference, access)?)?;
    passed("compiles", format!("in {}", shown_time(began.elapsed())));
    let about = opened.description.clone();
    passed("imports", "nothing but sociable:policy/log".to_owned());
    let names: Vec<_> = about
        .interfaces
        .iter()
        .map(|interface| interface.name())
        .collect();
    passed("exports", names.join(", "));
    let policy = opened.policy(&spec.parameters);
    let policy = policy.map_err(|error| CliError::failed(error.to_string()))?;
    passed("parameters", "fit its schema, and are taken".to_owned());

    let wrong = |error: PolicyError| CliError::failed(error.to_string());
    let began = Instant::now();
    let first = answers(&policy).map_err(wrong)?;
    let took = began.elapsed();
    let result = format!(
        "{} questions about a made-up layer in {}",
        first.asked,
        shown_time(took)
    );
    passed("answers", result);
    // Side by side, as layers are.
    let again = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| answers(&policy))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect::<Result<Vec<_>, _>>()
    });
    if again
        .map_err(wrong)?
        .iter()
        .any(|again| again.answers != first.answers)
    {
        return Err(CliError::failed(format!(
            "policy {} is not deterministic: asked the same again, it answered otherwise",
            policy.about.name
        )));
    }
    passed("deterministic", "the same answers three times".to_owned());

    let found = Found {
        policy: policy.about.name.clone(),
        digest: about.digest,
        checks,
    };
    if args.json {
        return print_json(&found);
    }
    let mut text = format!("{}  {}\n", found.policy, found.digest);
    for Passed { check, result } in &found.checks {
        let _ = writeln!(text, "  {check:<14} {result}");
    }
    print(&text)
}

fn shown_time(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{} µs", time.as_micros())
    } else {
        format!("{} ms", time.as_millis())
    }
}

#[derive(PartialEq, Eq, Default)]
struct Answers {
    asked: usize,
    /// What was answered, as text.
    answers: Vec<String>,
}

impl Answers {
    fn push(&mut self, answer: impl std::fmt::Debug) {
        self.asked += 1;
        self.answers.push(format!("{answer:?}"));
    }
}

/// Directories, small files, a large one, and a hard link.
fn entries() -> Vec<Entry<'static>> {
    let mut entries = Vec::new();
    let mut push = |path: String, kind, size: u64, link: Option<&str>| {
        entries.push(Entry {
            path: path.into(),
            kind,
            header: 0,
            data: 0,
            size,
            mode: 0o755,
            link: link.map(|link| link.to_owned().into()),
        });
    };
    for dir in 0..20 {
        push(format!("dir{dir}"), Kind::Directory, 0, None);
        for file in 0..50u64 {
            push(
                format!("dir{dir}/file{file}.py"),
                Kind::File,
                file * 731,
                None,
            );
        }
    }
    push("model.safetensors".to_owned(), Kind::File, 200 << 20, None);
    push("link".to_owned(), Kind::HardLink, 0, Some("dir0/file1.py"));
    entries
}

/// Asks everything that the policy decides about.
fn answers(policy: &Policy) -> Result<Answers, PolicyError> {
    let mut answers = Answers::default();
    let layer = Layer {
        digest: Some(format!("sha256:{}", "0".repeat(64))),
        size: Some(80 << 20),
        min_layer_size: 10 << 20,
        packing: false,
        ..Layer::packed("application/vnd.oci.image.layer.v1.tar+gzip", 4 << 20)
    };
    let packed = Layer::packed("application/vnd.oci.image.layer.v1.tar+gzip", 4 << 20);
    let entries = entries();
    if let Some(span) = &policy.span {
        answers.push(trial::indexed(&**span, &entries, 100_000)?);
        answers.push(trial::packed(&**span, &entries)?);
    }
    if let Some(policy) = &policy.order {
        answers.push(order::arrange(&**policy, &packed, &entries)?);
    }
    if let Some(compression) = &policy.compression {
        let mut levels = compression.levels(&packed)?;
        answers.push(layer_choice(&mut *levels)?);
        for entry in entries.iter().filter(|entry| entry.size >= MIN_FILE) {
            for deflated in [100, 4000, 4100] {
                let sample = Sample {
                    bytes: 4096,
                    deflated,
                };
                answers.push(file_level(&mut *levels, entry, sample)?);
            }
        }
    }
    if let Some(selection) = &policy.selection {
        answers.push(selection.select(&layer)?);
    }
    if let Some(prefetch) = &policy.prefetch {
        let spans: Vec<u64> = (0..40).map(|span| span * (4 << 20)).collect();
        answers.push(prefetch.choose(&layer, &trial::placed(&entries).0, &spans)?);
    }
    Ok(answers)
}
