//! What can go wrong while an image is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sociable_tests::http::Request;
use sociable_tests::layout::{self, media};
use sociable_tests::proxy::{Exchange, Fault, Gate, Proxy, Rule, Tokens};
use sociable_tests::registry::{self, Kind};
use sociable_tests::{archive, compress, run, sha256};

use super::{Lab, at_once};

/// Layers that are too large to be kept in memory and sent at once.
pub(super) const LARGE: usize = 6 << 20;

/// A registry that takes nothing over from its other repositories, so that layers move.
pub(super) fn without_mounts(lab: &Lab) {
    lab.fresh();
    lab.proxy
        .add(Rule::on("POST", "/blobs/uploads/").does(Fault::RefuseMount));
}

#[test]
fn broken_uploads_go_on() {
    let faults = [
        ("PATCH", Fault::CutRequest { after: 3_000_000 }),
        ("PATCH", Fault::LoseAnswer),
        ("PUT", Fault::LoseAnswer),
        ("POST", Fault::status(503)),
        ("PATCH", Fault::LoseUpload),
        ("PUT", Fault::LoseUpload),
        ("PATCH|PUT", Fault::BodyLimit(5 << 20)),
    ];
    at_once(faults, |(method, fault)| {
        let Some(lab) = Lab::with("broken_uploads_go_on", Kind::Distribution, LARGE) else {
            return;
        };
        let expected = lab.undisturbed();
        without_mounts(&lab);
        let limit = matches!(fault, Fault::BodyLimit(_));
        let rule = Rule::on(method, "/blobs/uploads/");
        let rule = if limit { rule } else { rule.first(1) };
        lab.proxy.add(rule.does(fault));
        lab.right(run(&mut lab.convert()), &expected);
        let log = lab.proxy.log();
        let up: u64 = log.iter().map(|e| e.up).sum();
        assert!(up > LARGE as u64, "nothing was uploaded\n{log}");
        if limit {
            // What was taken came in pieces.
            let taken = log.of("PATCH", "/blobs/uploads/");
            let pieces = taken.iter().filter(|e| e.status() == 202 && e.up > 0);
            assert!(pieces.count() >= 2, "{log}");
        }
    });
}

/// An image that comes from files goes another way than one that is converted.
#[test]
fn pushes_go_on() {
    let Some(lab) = Lab::with("pushes_go_on", Kind::Distribution, LARGE) else {
        return;
    };
    let each = |method: &str, part: &str| Rule::on(method, part).each_path().first(1);
    let uploads = "/blobs/uploads/";
    for rule in [
        each("PATCH", uploads).does(Fault::CutRequest { after: 3_000_000 }),
        each("PUT|PATCH", "").does(Fault::LoseAnswer),
        each("*", "").does(Fault::status(503)),
        each("HEAD|GET", "").does(Fault::LoseAnswer),
    ] {
        let name = format!("{rule:?}");
        lab.fresh();
        lab.proxy.add(rule);
        let push = run(&mut lab.command(&["push", &lab.image.arg(), &lab.dest()]));
        lab.right(push, &lab.digest());
        let log = lab.proxy.log();
        assert!(log.faults() > 1, "{name}\n{log}");
    }
    lab.fresh();
    lab.proxy
        .add(Rule::on("PATCH", uploads).does(Fault::status(503)));
    let mut push = lab.command(&["push", &lab.image.arg(), &lab.dest()]);
    lab.refused(
        run(push.args(["--retries", "1"])),
        &["PATCH", "503", "\nhint: "],
    );
}

#[test]
fn slow_uploads() {
    // More than the kernel takes although nobody reads it.
    let Some(lab) = Lab::with("slow_uploads", Kind::Distribution, 12 << 20) else {
        return;
    };
    let expected = lab.undisturbed();
    let stall = Fault::StallRequest { after: 1_000_000 };
    let convert = |fault: &Fault, first| {
        without_mounts(&lab);
        let patch = Rule::on("PATCH", "/blobs/uploads/").first(first);
        lab.proxy.add(patch.does(fault.clone()));
        let mut convert = lab.convert();
        run(convert.args(["--idle-timeout", "1", "--retries", "2"]))
    };
    // One that takes little at a time is not one that takes nothing.
    let slow = Fault::DripRequest {
        piece: 1 << 16,
        pause: Duration::from_millis(10),
    };
    lab.right(convert(&slow, usize::MAX), &expected);
    let patches = lab.proxy.log().count("PATCH", "");
    assert_eq!(patches, 2, "{}", lab.proxy.log());
    lab.right(convert(&stall, 1), &expected);
    lab.refused(
        convert(&stall, usize::MAX),
        &["PATCH", "stalled", "3 times"],
    );
}

#[test]
fn lost_uploads_are_given_up() {
    let Some(lab) = Lab::with("lost_uploads_are_given_up", Kind::Distribution, LARGE) else {
        return;
    };
    for (methods, method) in [("PATCH|PUT", "PUT"), ("PUT", "PUT")] {
        without_mounts(&lab);
        lab.proxy
            .add(Rule::on(methods, "/blobs/uploads/").does(Fault::LoseUpload));
        let done = run(lab.convert().args(["--retries", "2"]));
        lab.refused(done, &[method, "404", "\nhint: "]);
    }
}

#[test]
fn tags_that_stay() {
    let Some(lab) = Lab::new("tags_that_stay") else {
        return;
    };
    lab.proxy
        .add(Rule::on("PUT", "/manifests/").does(Fault::ImmutableTags));
    let before = lab.result("src/app", "1");
    let done = run(&mut lab.convert_to(&lab.proxy.image("src/app:1"))).refused();
    assert!(done.stderr.contains("immutable"), "{done}");
    assert!(done.stderr.contains("\nhint: "), "{done}");
    assert!(done.stderr.contains("--tag-suffix"), "{done}");
    assert_eq!(lab.result("src/app", "1"), before);
}

#[test]
fn tags_that_somebody_else_moves() {
    let Some(lab) = Lab::new("tags_that_somebody_else_moves") else {
        return;
    };
    let mut other = lab.image.blob(&lab.digest()).expect("the manifest");
    other.push(b'\n');
    let theirs = sha256(&other);
    // When the work is done and only the tag is left, somebody pushes.
    let (address, pushed) = (lab.registry.address().to_owned(), AtomicBool::new(false));
    let push = move |_: &Request| {
        if !pushed.swap(true, Ordering::SeqCst) {
            registry::push(&address, "src/app", "1", media::MANIFEST, &other);
        }
        false
    };
    lab.proxy
        .add(Rule::on("PUT", "/v2/src/app/manifests/sha256:").only(push));
    let image = lab.proxy.image("src/app:1");
    let done = run(&mut lab.convert_to(&image)).refused();
    assert!(done.stderr.contains(&theirs), "{done}");
    assert!(done.stderr.contains("\nhint: "), "{done}");
    assert_eq!(lab.result("src/app", "1"), Some(theirs), "theirs stays");
    // Again: now theirs is what is converted.
    let _ = run(&mut lab.convert_to(&image)).ok();
    assert_ne!(lab.result("src/app", "1"), Some(lab.digest()));
}

#[test]
fn uploads_that_lead_elsewhere() {
    let Some(lab) = Lab::with("uploads_that_lead_elsewhere", Kind::Distribution, LARGE) else {
        return;
    };
    let expected = lab.undisturbed();
    let storage = Proxy::start(lab.registry.address());
    let convert = |plain: &str| {
        without_mounts(&lab);
        let auth = lab.log_in();
        let to = Fault::RedirectTo(storage.address().to_owned());
        lab.proxy.add(Rule::on("POST", "/blobs/uploads/").does(to));
        let mut command = lab.convert();
        command.arg("--authfile").arg(auth);
        run(command.args(["--plain-http", plain]))
    };
    // In the clear to a host that nobody named: refused.
    let elsewhere = lab.registry.address();
    lab.refused(convert(elsewhere), &["not encrypted", "--plain-http"]);
    assert_eq!(storage.log().0.len(), 0, "{}", storage.log());
    lab.right(convert(storage.address()), &expected);
    let log = storage.log();
    let up: u64 = log.iter().map(|e| e.up).sum();
    assert!(up > LARGE as u64, "{log}");
    assert!(log.authorized().is_empty(), "{log}");
}

#[test]
fn tokens_expire_in_the_middle() {
    let Some(lab) = Lab::with("tokens_expire_in_the_middle", Kind::Distribution, LARGE) else {
        return;
    };
    let expected = lab.undisturbed();
    without_mounts(&lab);
    lab.proxy.guard(Gate::Tokens(
        Tokens::new("somebody", "a secret", "an identity").uses(3),
    ));
    let auth = lab.dir.path().join("auth.json");
    // "somebody:a secret"
    let text = format!(
        r#"{{"auths":{{"{}":{{"auth":"c29tZWJvZHk6YSBzZWNyZXQ="}}}}}}"#,
        lab.proxy.address()
    );
    std::fs::write(&auth, text).expect("write credentials");
    let done = run(lab.convert().arg("-v").arg("--authfile").arg(&auth));
    let said = done.text() + &done.stderr;
    for secret in ["a secret", "c29tZWJvZHk6YSBzZWNyZXQ", "short-lived-secret"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    lab.right(done, &expected);
    let log = lab.proxy.log();
    assert!(log.count("GET|POST", "/token") > 2, "{log}");
}

#[test]
fn the_tag_comes_last() {
    let Some(lab) = Lab::new("the_tag_comes_last") else {
        return;
    };
    let expected = lab.undisturbed();
    let _ = run(&mut lab.convert_to(&lab.proxy.image("src/app:1"))).ok();
    assert_eq!(lab.result("src/app", "1"), Some(expected));
    let log = lab.proxy.log();
    let writes = log.of("PUT|PATCH|POST", "/");
    let last = writes.last().expect("something was written");
    assert!(last.is("PUT", "/manifests/1"), "{log}");
    assert_eq!(log.count("PUT", "/manifests/1"), 1, "{log}");
}

#[test]
fn nothing_moves_twice() {
    let Some(lab) = Lab::new("nothing_moves_twice") else {
        return;
    };
    let cache = lab.dir.path().join("cache");
    let convert = || {
        let mut command = lab.command(&[
            "convert",
            &lab.proxy.image("src/app:1"),
            &lab.dest(),
            "--min-layer-size",
            "0",
        ]);
        command.arg("--cache-dir").arg(&cache);
        command
    };
    let _ = run(&mut convert()).ok();
    let log = lab.proxy.log();
    // The registry takes layers over from the other repository.
    for n in [0, 1] {
        let digest = sha256(&lab.layers[n]);
        let mounted = log
            .of("POST", "/blobs/uploads/")
            .into_iter()
            .any(|e| e.request.query("mount") == Some(digest.clone()) && e.status() == 201);
        assert!(mounted, "{log}");
    }
    let up: u64 = log.iter().map(|e| e.up).sum();
    assert!(up < 1 << 20, "a layer was uploaded\n{log}");

    lab.proxy.forget();
    let _ = run(&mut convert()).ok();
    let log = lab.proxy.log();
    for n in [0, 1] {
        assert_eq!(log.count("GET", &lab.layer(n)), 0, "{log}");
        let digest = sha256(&lab.layers[n]);
        assert_eq!(log.count("GET", &digest), 0, "{log}");
    }
    let up: u64 = log.of("PATCH|PUT", "/blobs/").iter().map(|e| e.up).sum();
    assert_eq!(up, 0, "{log}");
}

/// Many images share their base: what was made of it once is neither read nor sent again, in whatever repository it is.
#[test]
fn another_image_on_the_same_base() {
    let Some(lab) = Lab::new("another_image_on_the_same_base") else {
        return;
    };
    let mut tar = archive::entry(b'0', b"app", b"", b"another program");
    tar.extend(archive::END);
    let app = compress::gzip(&tar, 6);
    let layers = [(media::GZIP, &lab.layers[0][..]), (media::GZIP, &app)];
    let other = layout::image(&lab.dir.path().join("other"), &layers);
    registry::push_layout(&other, lab.registry.address(), "src/other", "1");
    let cache = lab.dir.path().join("cache");
    let convert = |from: &str, to: &str| {
        let mut command = lab.command(&["convert", &lab.proxy.image(from), &lab.proxy.image(to)]);
        command.args(["--min-layer-size", "0", "--json"]);
        command.arg("--cache-dir").arg(&cache);
        let done = run(&mut command).ok();
        serde_json::from_str::<Value>(&done.text()).expect("a report")
    };
    let first = convert("src/app:1", "first:1");
    let ztoc = &first["platforms"][0]["layers"][0]["outcome"]["indexed"]["ztoc"];
    let ztoc = ztoc
        .as_str()
        .unwrap_or_else(|| panic!("a zTOC: {first}"))
        .to_owned();
    for refused in [false, true] {
        lab.fresh();
        if refused {
            // The repository, or the right to read it, may be gone.
            without_mounts(&lab);
        }
        let _ = convert("src/other:1", &format!("{}:1", lab.repository()));
        assert!(lab.result(&lab.repository(), "1").is_some());
        let log = lab.proxy.log();
        let mount = |e: &&Exchange| {
            e.request.query("mount").as_ref() == Some(&ztoc)
                && e.request.query("from").as_deref() == Some("first")
        };
        let asked = log.of("POST", "/blobs/uploads/").into_iter().find(mount);
        let taken = if refused { 202 } else { 201 };
        assert_eq!(asked.map(Exchange::status), Some(taken), "{log}");
        let read = log.count("GET", &sha256(&lab.layers[0]));
        assert_eq!(read, usize::from(refused), "{log}");
    }
}
