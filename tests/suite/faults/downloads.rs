//! What can go wrong while an image is read.

use std::time::{Duration, Instant};

use sociable_tests::layout::media;
use sociable_tests::proxy::{Answer, Exchange, Fault, Proxy, Rule};
use sociable_tests::{run, sha256};

use super::{Lab, at_once};

/// An HTTP date that is so far from now.
fn date(from_now: &str) -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "-d", from_now, "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .expect("run date");
    String::from_utf8(output.stdout)
        .expect("a date")
        .trim()
        .to_owned()
}

#[test]
fn what_passes_is_tried_again() {
    let busy = |after: String| {
        Fault::Answer(Answer::error(429, "TOOMANYREQUESTS", "slow down").with("Retry-After", after))
    };
    let faults = [
        busy("1".to_owned()),
        busy(date("2 seconds")),
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
        Fault::CutResponse { after: 700_000 },
        Fault::LoseAnswer,
    ];
    at_once(faults, |fault| {
        let Some(lab) = Lab::new("what_passes_is_tried_again") else {
            return;
        };
        let expected = lab.undisturbed();
        let name = format!("{fault:?}");
        let cut = matches!(fault, Fault::CutResponse { .. });
        if cut {
            // A reset also takes what was sent and not read yet: here the reader has the time.
            let slow = Fault::Drip {
                piece: 1 << 16,
                pause: Duration::from_millis(50),
            };
            let layer = lab.layer(0);
            lab.proxy.add(Rule::on("GET", &layer).first(1).does(slow));
        }
        lab.proxy.add(
            Rule::on("GET", "/v2/src/app/")
                .each_path()
                .first(1)
                .does(fault),
        );
        let began = Instant::now();
        lab.right(run(&mut lab.convert()), &expected);
        if name.contains(r#""Retry-After", "1""#) {
            let waited = began.elapsed();
            assert!(waited >= Duration::from_millis(900), "{name}: {waited:?}");
        }
        if cut {
            let goes_on = lab.proxy.log();
            let asked = goes_on.of("GET", &lab.layer(0));
            assert!(asked.iter().any(|e| goes_on_later(e)), "{goes_on}");
        }
    });
}

/// A registry without ranges sends everything again, and the connection breaks before it is where it was.
#[test]
fn broken_on_the_way_back() {
    let Some(lab) = Lab::new("broken_on_the_way_back") else {
        return;
    };
    let expected = lab.undisturbed();
    lab.fresh();
    let layer = lab.layer(0);
    let get = || Rule::on("GET", &layer);
    lab.proxy.add(get().does(Fault::NoRange));
    let slow = Fault::Drip {
        piece: 1 << 16,
        pause: Duration::from_millis(20),
    };
    lab.proxy.add(get().first(3).does(slow));
    for (n, after) in [(1, 1_500_000), (2, 700_000), (3, 0)] {
        lab.proxy
            .add(get().nth(n).does(Fault::CutResponse { after }));
    }
    lab.right(run(&mut lab.convert()), &expected);
    let log = lab.proxy.log();
    let down: Vec<_> = log.of("GET", &layer).iter().map(|e| e.down).collect();
    let whole = lab.layers[0].len() as u64;
    assert_eq!(down, [1_500_000, 700_000, 0, whole], "{log}");
}

/// Whether a request asks for a blob from its middle on, and gets that.
fn goes_on_later(e: &Exchange) -> bool {
    let range = e.request.headers.get("range").unwrap_or_default();
    e.status() == 206 && range.starts_with("bytes=") && range != "bytes=0-"
}

#[test]
fn what_does_not_pass_is_given_up() {
    let Some(lab) = Lab::new("what_does_not_pass_is_given_up") else {
        return;
    };
    let layer = lab.layer(1);
    lab.proxy
        .add(Rule::on("GET", &layer).does(Fault::status(503)));
    let done = run(lab.convert().args(["--retries", "2"]));
    let url = format!("GET http://{}{layer}", lab.proxy.address());
    lab.refused(done, &[&url, "3 times", "503", "\nhint: "]);
    assert_eq!(lab.proxy.log().count("GET", &layer), 3);

    for after in ["3600".to_owned(), date("1 hour")] {
        lab.fresh();
        let busy = Answer::error(429, "TOOMANYREQUESTS", "slow down");
        let busy = Fault::Answer(busy.with("Retry-After", after));
        lab.proxy.add(Rule::on("GET", &layer).does(busy));
        let done = run(&mut lab.convert());
        lab.refused(done, &["asks to wait for 3", "\nhint: "]);
        assert_eq!(lab.proxy.log().count("GET", &layer), 1);
    }
}

#[test]
fn slow_connections_are_left() {
    let Some(lab) = Lab::new("slow_connections_are_left") else {
        return;
    };
    let expected = lab.undisturbed();
    for fault in [
        Fault::Drip {
            piece: 10,
            pause: Duration::from_millis(100),
        },
        Fault::Stall { after: 500_000 },
    ] {
        lab.fresh();
        let stalled = matches!(fault, Fault::Stall { .. });
        lab.proxy
            .add(Rule::on("GET", &lab.layer(0)).first(1).does(fault));
        lab.right(run(lab.convert().args(["--idle-timeout", "1"])), &expected);
        if stalled {
            // Exactly from where nothing came any more.
            let log = lab.proxy.log();
            let asked = log.of("GET", &lab.layer(0));
            let from = |e: &Exchange| e.request.headers.get("range") == Some("bytes=500000-");
            assert!(asked.iter().any(|e| from(e) && e.status() == 206), "{log}");
        }
    }
}

#[test]
fn other_bytes_are_refused() {
    let Some(lab) = Lab::new("other_bytes_are_refused") else {
        return;
    };
    for fault in [
        Fault::Flip { at: 1_000_000 },
        Fault::Truncate { by: 1 },
        Fault::Truncate { by: 1_000_000 },
        Fault::Extend { by: 1 },
        Fault::Extend { by: 100_000 },
    ] {
        lab.fresh();
        lab.proxy.add(Rule::on("GET", &lab.layer(1)).does(fault));
        lab.refused(run(lab.convert().args(["--retries", "1"])), &["error: "]);
    }
}

#[test]
fn ranges_that_are_none() {
    let Some(lab) = Lab::new("ranges_that_are_none") else {
        return;
    };
    let _ = run(&mut lab.convert()).ok();
    let image = lab.dest();
    for fault in [None, Some(Fault::NoRange), Some(Fault::WrongRange)] {
        lab.fresh();
        let wrong = matches!(fault, Some(Fault::WrongRange));
        if let Some(fault) = fault.clone() {
            lab.proxy.add(Rule::on("GET", "/blobs/").does(fault));
        }
        let cat = run(&mut lab.command(&["cat", &image, "/small.txt", "--retries", "1"]));
        if wrong {
            let cat = cat.refused();
            assert!(cat.stdout.is_empty(), "{cat}");
            assert!(cat.stderr.contains("asked for bytes"), "{cat}");
        } else {
            let cat = cat.ok();
            assert_eq!(cat.stdout, lab.small, "{cat}");
        }
        assert_eq!(fault.is_some(), lab.proxy.log().faults() > 0);
    }
}

#[test]
fn redirects() {
    let Some(lab) = Lab::new("redirects") else {
        return;
    };
    let expected = lab.undisturbed();
    lab.proxy
        .add(Rule::on("GET", &lab.layer(0)).does(Fault::RedirectLoop));
    lab.refused(
        run(&mut lab.convert()),
        &["redirects more than", "\nhint: "],
    );

    // Storage elsewhere: it must not learn who we are there.
    let storage = Proxy::start(lab.registry.address());
    lab.fresh();
    let auth = lab.log_in();
    lab.proxy.add(
        Rule::on("GET", "/v2/src/app/blobs/").does(Fault::RedirectTo(storage.address().to_owned())),
    );
    let convert = || {
        let mut command = lab.convert();
        command.arg("--authfile").arg(&auth);
        command
    };
    // In the clear to a host that nobody named: refused.
    lab.refused(run(&mut convert()), &["not encrypted", "--plain-http"]);
    assert_eq!(storage.log().iter().count(), 0);
    let done = run(convert().args(["--plain-http", storage.address()]));
    lab.right(done, &expected);
    let log = storage.log();
    assert!(log.count("GET", &lab.layer(0)) > 0, "{log}");
    assert!(log.authorized().is_empty(), "{log}");
}

#[test]
fn one_blob_is_denied() {
    let Some(lab) = Lab::new("one_blob_is_denied") else {
        return;
    };
    lab.proxy
        .add(Rule::on("GET", &lab.layer(1)).does(Fault::status(401)));
    lab.refused(run(&mut lab.convert()), &["401", "\nhint: ", "log in"]);
}

/// The image's manifest, and another one that leads to the same blobs.
fn manifests(lab: &Lab) -> (Vec<u8>, Vec<u8>) {
    let manifest = lab.image.blob(&lab.digest()).expect("the manifest");
    let mut other: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    other["annotations"] = serde_json::json!({"org.example.other": "yes"});
    (manifest, other.to_string().into_bytes())
}

#[test]
fn manifests_that_are_others() {
    let Some(lab) = Lab::new("manifests_that_are_others") else {
        return;
    };
    let (_, other) = manifests(&lab);
    // By digest, the answer is another document.
    lab.proxy
        .add(Rule::on("GET", "/v2/src/app/manifests/").does(Fault::Instead(other)));
    let source = format!("docker://{}/src/app@{}", lab.proxy.address(), lab.digest());
    let mut command = lab.command(&["convert", &source, &lab.dest()]);
    command.args(["--no-cache", "--min-layer-size", "0"]);
    lab.refused(run(&mut command), &["error: ", &lab.digest()]);
}

#[test]
fn manifests_whose_digest_is_a_lie() {
    let Some(lab) = Lab::new("manifests_whose_digest_is_a_lie") else {
        return;
    };
    let (manifest, other) = manifests(&lab);
    let lie = sha256(&other);
    let mut answer = Answer::status(200)
        .with("Content-Type", media::MANIFEST)
        .with("Docker-Content-Digest", &lie);
    answer.body = manifest;
    lab.proxy
        .add(Rule::on("GET", "/v2/src/app/manifests/").does(Fault::Answer(answer)));
    lab.refused(
        run(&mut lab.convert()),
        &["the registry says", &lie, &lab.digest()],
    );
}

#[test]
fn manifests_that_change_meanwhile() {
    let Some(lab) = Lab::new("manifests_that_change_meanwhile") else {
        return;
    };
    let expected = lab.undisturbed();
    let (_, other) = manifests(&lab);
    let tag = "/v2/src/app/manifests/1";
    // The tag moves once it has been read: what was read first counts.
    lab.fresh();
    lab.proxy.add(
        Rule::on("GET|HEAD", tag)
            .after(1)
            .does(Fault::Instead(other.clone())),
    );
    let _ = run(&mut lab.convert()).ok();
    assert_eq!(lab.result(&lab.repository(), "1"), Some(expected));
    // HEAD tells of one image, GET gives another: what came counts.
    lab.fresh();
    lab.proxy
        .add(Rule::on("GET", tag).does(Fault::Instead(other.clone())));
    let pull = lab.dir.path().join("pulled");
    let pull = sociable_tests::layout::Layout::open(pull);
    let image = lab.proxy.image("src/app:1");
    let _ = run(&mut lab.command(&["pull", &image, &pull.arg()])).ok();
    assert!(lab.proxy.log().faults() > 0);
    assert_eq!(pull.blob(&sha256(&other)), Some(other));
}
