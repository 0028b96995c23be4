//! What a build did, by BuildKit's plain progress.

use sociable_tests::Run;

/// A step that was done, or found done.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) cached: bool,
}

/// The steps of a build's Dockerfile and of Sociable, but for what is always done: what is fetched, written down or pushed.
pub(super) fn steps(build: &Run) -> Vec<Step> {
    let mut steps: Vec<(&str, Step)> = Vec::new();
    for line in build.stderr.lines() {
        let Some((id, rest)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let known = steps.iter_mut().find(|(known, _)| *known == id);
        match known {
            Some((_, step)) => step.cached |= rest == "CACHED",
            None => steps.push((
                id,
                Step {
                    name: rest.to_owned(),
                    cached: false,
                },
            )),
        }
    }
    let dockerfile = ["] COPY ", "] RUN "];
    let sociable = ["[sociable] pack", "[sociable] index"];
    let of_interest = |step: &Step| {
        let name = &step.name;
        name.starts_with('[') && dockerfile.iter().any(|kind| name.contains(kind))
            || sociable.iter().any(|kind| name.starts_with(kind))
    };
    let all = steps.into_iter().map(|(_, step)| step);
    all.filter(of_interest).collect()
}

/// The names of the steps that were done.
pub(super) fn done(build: &Run) -> Vec<String> {
    let done = steps(build).into_iter().filter(|step| !step.cached);
    let mut names: Vec<_> = done.map(|step| step.name).collect();
    names.sort();
    names
}
