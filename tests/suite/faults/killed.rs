//! SIGKILL at any moment: what the tag points at is complete, and the next run is not disturbed.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sociable_tests::proxy::{Fault, Rule};
use sociable_tests::registry::{self, Kind};
use sociable_tests::rng::Rng;
use sociable_tests::run::{kill_group, start_group};
use sociable_tests::{run, say, scaled, seed};

use super::{Lab, at_once};
use crate::none;

/// Kills a command at random moments of its life and runs it again, `count` times, each time after `begin`. The tag must
/// lead to one of `before` (or to nothing), or to `after`, complete; and to `after` in the end.
fn kill(
    lab: &Lab,
    name: &str,
    count: usize,
    (before, after): (Option<&str>, &str),
    begin: impl Fn() -> (String, Command),
) {
    let mut rng = Rng::new(seed(&format!("faults::killed::{name}"), 22));
    let start = Instant::now();
    let _ = run(&mut begin().1).ok();
    let mut micros = u64::try_from(start.elapsed().as_micros()).expect("a short time");
    let (mut wrong, mut killed) = (Vec::new(), 0);
    for round in 0..count {
        let (repository, mut command) = begin();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = start_group(&mut command, "sociable");
        let life = rng.number() % (micros * 11 / 10).max(1);
        thread::sleep(Duration::from_micros(life));
        if child.try_wait().expect("wait for a child").is_none() {
            kill_group(&mut child);
            killed += 1;
        } else {
            // The run that was measured was a slow one.
            micros = micros.min(life);
        }
        let found = || registry::complete(lab.registry.address(), &repository, "1");
        match found().map(|found| found.map(|found| found.digest)) {
            Ok(found) if found.as_deref() == before || found.as_deref() == Some(after) => {}
            Ok(other) => wrong.push(format!("round {round}: another image {other:?}")),
            Err(why) => wrong.push(format!("round {round}: {why}")),
        }
        let again = run(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let found = found();
        let whole = matches!(&found, Ok(Some(found)) if found.digest == after);
        if again.code != Some(0) || !whole {
            wrong.push(format!("round {round}, again: {again}: {found:?}"));
        }
    }
    say(&format!(
        "faults::killed::{name}: {killed} of {count} killed before their end"
    ));
    assert!(killed > 0, "nothing was killed in time");
    none(&wrong, count);
}

#[test]
fn registry_to_registry() {
    let Some(lab) = Lab::new("registry_to_registry") else {
        return;
    };
    let expected = lab.undisturbed();
    let count = scaled(200).max(5);
    kill(
        &lab,
        "registry_to_registry",
        count,
        (None, &expected),
        || {
            lab.fresh();
            lab.proxy
                .add(Rule::on("POST", "/blobs/uploads/").does(Fault::RefuseMount));
            (lab.repository(), lab.convert())
        },
    );
}

/// A new repository with the image, and a command that works on the image where it is.
fn in_place(lab: &Lab, command: &str) -> (String, Command) {
    lab.fresh();
    let repository = lab.repository();
    registry::push_layout(&lab.image, lab.registry.address(), &repository, "1");
    let image = lab.dest();
    let mut command = lab.command(&[command, &image, &image]);
    command.args(["--no-cache", "--min-layer-size", "0"]);
    (repository, command)
}

#[test]
fn in_place_conversion() {
    at_once(Kind::ALL, |kind| {
        let Some(lab) = Lab::with("in_place_conversion", kind, super::LARGE) else {
            return;
        };
        let (original, expected) = (lab.digest(), lab.undisturbed());
        let known = (Some(&original[..]), &expected[..]);
        let count = scaled(50).max(5);
        kill(
            &lab,
            &format!("in_place_conversion, {kind:?}"),
            count,
            known,
            || in_place(&lab, "convert"),
        );
    });
}

/// Indexes beside an image are found whatever happened before, and once.
#[test]
fn indexes_beside_the_image() {
    at_once(Kind::ALL, |kind| {
        let Some(lab) = Lab::with("killed_beside", kind, super::LARGE) else {
            return;
        };
        let image = lab.digest();
        let count = scaled(20).max(4);
        kill(
            &lab,
            &format!("beside, {kind:?}"),
            count,
            (Some(&image), &image),
            || in_place(&lab, "create"),
        );
        for _ in 0..count {
            let shown = run(&mut lab.command(&["inspect", &lab.dest()])).ok().text();
            assert_eq!(shown.matches("index v1").count(), 1, "{kind:?}: {shown}");
            lab.round.set(lab.round.get() - 1);
        }
    });
}
