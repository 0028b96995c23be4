//! Heads of answers that say too much, or too little.

use sociable_tests::proxy::{Fault, Rule};
use sociable_tests::run;

use super::Lab;

#[test]
fn headers_that_are_missing() {
    let Some(lab) = Lab::new("headers_that_are_missing") else {
        return;
    };
    let expected = lab.undisturbed();
    for name in [
        "docker-content-digest",
        "content-length",
        "content-type",
        "etag",
        "docker-distribution-api-version",
    ] {
        lab.fresh();
        lab.proxy.add(Rule::on("*", "").does(Fault::Without(name)));
        lab.right(run(&mut lab.convert()), &expected);
        // What is there already is found again.
        lab.proxy.forget();
        let again = run(&mut lab.convert());
        lab.right(again, &expected);
        let log = lab.proxy.log();
        let up: u64 = log.of("PUT|PATCH", "/blobs/").iter().map(|e| e.up).sum();
        assert_eq!(up, 0, "{name}: {log}");
        let cat = run(&mut lab.command(&["cat", &lab.dest(), "/small.txt"])).ok();
        assert_eq!(cat.stdout, lab.small, "{name}: {cat}");
    }
}

/// Without these there is no way on.
#[test]
fn headers_that_are_needed() {
    let Some(lab) = Lab::new("headers_that_are_needed") else {
        return;
    };
    lab.proxy
        .add(Rule::on("POST", "/blobs/uploads/").does(Fault::Without("location")));
    lab.refused(run(&mut lab.convert()), &["POST ", "Location"]);

    lab.fresh();
    let _ = run(&mut lab.convert()).ok();
    lab.proxy
        .add(Rule::on("GET", "/blobs/").does(Fault::Without("content-range")));
    let mut cat = lab.command(&["cat", &lab.dest(), "/small.txt", "--retries", "1"]);
    let cat = run(&mut cat).refused();
    assert!(cat.stdout.is_empty(), "{cat}");
    assert!(cat.stderr.contains("a range it does not name"), "{cat}");
}

/// The bytes of a blob say for themselves whether they are all there. What ends too early is asked for again.
#[test]
fn lengths_that_claim_more() {
    let Some(lab) = Lab::new("lengths_that_claim_more") else {
        return;
    };
    let expected = lab.undisturbed();
    for by in [1, 1_000_000] {
        let claim = || Fault::ClaimMore { by };
        lab.fresh();
        lab.proxy.add(Rule::on("GET", "/blobs/").does(claim()));
        lab.right(run(&mut lab.convert()), &expected);
        let asked = lab.proxy.log().count("GET", &lab.layer(0));
        assert_eq!(asked, 1, "{}", lab.proxy.log());

        lab.fresh();
        let all = Rule::on("GET", "").each_path().first(1);
        lab.proxy.add(all.does(claim()));
        lab.right(run(&mut lab.convert()), &expected);

        lab.fresh();
        lab.proxy.add(Rule::on("GET", "/manifests/").does(claim()));
        let done = run(lab.convert().args(["--retries", "1"]));
        lab.refused(done, &["GET ", "/manifests/1"]);
    }
}
