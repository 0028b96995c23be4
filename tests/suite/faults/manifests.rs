//! What can go wrong while a manifest is written: it is small, but the tag hangs on it.

use sociable_tests::proxy::{Answer, Fault, Rule};
use sociable_tests::registry::Kind;
use sociable_tests::run;

use super::{Lab, at_once};

/// What passes, if the request is sent once more.
fn faults() -> [Fault; 6] {
    let busy = Answer::error(429, "TOOMANYREQUESTS", "slow down");
    [
        Fault::Answer(busy.with("Retry-After", "1")),
        Fault::status(500),
        Fault::status(503),
        // The registry has acted, and nobody knows.
        Fault::LoseAnswer,
        Fault::CutRequest { after: 100 },
        Fault::CutResponse { after: 0 },
    ]
}

#[test]
fn manifests_are_written_again() {
    at_once(faults(), |fault| {
        let Some(lab) = Lab::new("manifests_are_written_again") else {
            return;
        };
        let expected = lab.undisturbed();
        let put = Rule::on("PUT", "/manifests/").each_path().first(1);
        lab.proxy.add(put.does(fault));
        lab.right(run(&mut lab.convert()), &expected);
        // Both manifests, the image index and the tag.
        let log = lab.proxy.log();
        assert!(log.faults() >= 3, "{log}");
        let writes = log.of("PUT|PATCH|POST", "/");
        let last = writes.last().expect("something was written");
        assert!(last.is("PUT", "/manifests/1"), "{log}");
    });
}

/// An answer that was lost must not make a tag that cannot be moved a failure: it is where it should be.
#[test]
fn lost_answers_of_immutable_tags() {
    let Some(lab) = Lab::new("lost_answers_of_immutable_tags") else {
        return;
    };
    let expected = lab.undisturbed();
    lab.fresh();
    let put = || Rule::on("PUT", "/manifests/1");
    lab.proxy.add(put().first(1).does(Fault::LoseAnswer));
    lab.proxy.add(put().does(Fault::ImmutableTags));
    lab.right(run(&mut lab.convert()), &expected);
}

#[test]
fn manifests_are_given_up() {
    let Some(lab) = Lab::new("manifests_are_given_up") else {
        return;
    };
    for tag in ["/manifests/sha256:", "/manifests/1"] {
        lab.fresh();
        lab.proxy.add(Rule::on("PUT", tag).does(Fault::status(503)));
        let done = run(lab.convert().args(["--retries", "1"]));
        lab.refused(done, &["PUT ", tag, "2 times", "503", "\nhint: "]);
        // Again, and nothing that has arrived is sent once more.
        lab.proxy.clear();
        lab.proxy.forget();
        let _ = run(&mut lab.convert()).ok();
        let log = lab.proxy.log();
        let up: u64 = log.of("PUT|PATCH", "/blobs/").iter().map(|e| e.up).sum();
        assert_eq!(up, 0, "{log}");
    }
}

#[test]
fn indexes_beside_the_image_are_written_again() {
    for kind in Kind::ALL {
        at_once(faults(), |fault| {
            let Some(lab) = Lab::with("indexes_are_written_again", kind, super::LARGE) else {
                return;
            };
            let put = Rule::on("PUT", "/manifests/").each_path().first(1);
            lab.proxy.add(put.does(fault));
            let _ = run(&mut lab.create("a tool")).ok();
            assert!(lab.proxy.log().faults() > 0);
            lab.proxy.clear();
            let shown = run(&mut lab.command(&["inspect", &lab.proxy.image("src/app:1")])).ok();
            let shown = shown.text();
            assert_eq!(shown.matches("index v1").count(), 1, "{kind:?}: {shown}");
        });
    }
}
