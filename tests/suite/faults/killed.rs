//! SIGKILL at any moment: what the tag points at is complete, and the next run is not disturbed.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use sociable_tests::proxy::{Fault, Rule};
use sociable_tests::registry;
use sociable_tests::rng::Rng;
use sociable_tests::run::{kill_group, start_group};
use sociable_tests::{run, say, scaled, seed};

use super::Lab;
use crate::none;

#[test]
fn registry_to_registry() {
    let Some(lab) = Lab::new("registry_to_registry") else {
        return;
    };
    let mut rng = Rng::new(seed("faults::killed::registry_to_registry", 22));
    let expected = lab.undisturbed();
    let begin = || {
        lab.fresh();
        lab.proxy
            .add(Rule::on("POST", "/blobs/uploads/").does(Fault::RefuseMount));
    };
    begin();
    let start = Instant::now();
    let _ = run(&mut lab.convert()).ok();
    let micros = u64::try_from(start.elapsed().as_micros()).expect("a short time");
    let (mut wrong, mut killed, count) = (Vec::new(), 0, scaled(200).max(5));
    for round in 0..count {
        begin();
        let mut command = lab.convert();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = start_group(&mut command, "sociable");
        thread::sleep(Duration::from_micros(
            rng.number() % (micros * 11 / 10).max(1),
        ));
        if child.try_wait().expect("wait for a child").is_none() {
            kill_group(&mut child);
            killed += 1;
        }
        match registry::complete(lab.registry.address(), &lab.repository(), "1") {
            Ok(None) => {}
            Ok(Some(found)) if found.digest == expected => {}
            Ok(Some(found)) => wrong.push(format!("round {round}: another image {}", found.digest)),
            Err(why) => wrong.push(format!("round {round}: {why}")),
        }
        let again = run(&mut lab.convert());
        let found = registry::complete(lab.registry.address(), &lab.repository(), "1");
        let whole = matches!(&found, Ok(Some(found)) if found.digest == expected);
        if again.code != Some(0) || !whole {
            wrong.push(format!("round {round}, again: {again}: {found:?}"));
        }
    }
    say(&format!(
        "faults::killed: {killed} of {count} killed before their end"
    ));
    assert!(killed > 0, "nothing was killed in time");
    none(&wrong, count);
}
