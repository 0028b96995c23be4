//! The proxy does what it is told, to a client that repairs nothing.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{Answer, Fault, Gate, Proxy, Rule, Tokens};
use crate::http::{self, ask};
use crate::layout::{image, media};
use crate::registry::{self, Kind, Registry};
use crate::rng::Rng;
use crate::{sha256, temp_dir};

/// A registry with an image of one layer of noise, a proxy before it, the layer's path and its bytes.
fn with_a_layer(kind: Kind) -> Option<(Registry, Proxy, String, Vec<u8>)> {
    let registry = registry::start(kind, "proxy::tests")?;
    let layer = Rng::new(1).noise(300_000);
    let dir = temp_dir();
    let layout = image(&dir.path().join("image"), &[(media::GZIP, &layer)]);
    registry::push_layout(&layout, registry.address(), "a/b", "tag");
    let proxy = Proxy::start(registry.address());
    let path = format!("/v2/a/b/blobs/{}", sha256(&layer));
    Some((registry, proxy, path, layer))
}

#[test]
fn an_honest_proxy_changes_nothing() {
    for kind in Kind::ALL {
        let Some((registry, proxy, path, layer)) = with_a_layer(kind) else {
            return;
        };
        let direct = registry::complete(registry.address(), "a/b", "tag");
        let through = registry::complete(proxy.address(), "a/b", "tag");
        let (direct, through) = (direct.unwrap().unwrap(), through.unwrap().unwrap());
        assert_eq!(direct.digest, through.digest);
        assert_eq!(direct.blobs.len(), 3, "{direct:?}");
        let part = ask(
            proxy.address(),
            "GET",
            &path,
            &[("Range", "bytes=100000-")],
            b"",
        );
        let part = part.unwrap();
        assert_eq!((part.head.status, &part.body[..]), (206, &layer[100_000..]));
        let log = proxy.log();
        assert_eq!(log.of("GET", &path)[1].down, 200_000, "{log}");
        assert_eq!(registry::tags(proxy.address(), "a/b"), ["tag"]);
        let gone = registry::complete(proxy.address(), "a/b", "none").unwrap();
        assert!(gone.is_none());
    }
}

#[test]
fn responses_go_wrong_as_told() {
    let Some((_registry, proxy, path, layer)) = with_a_layer(Kind::Distribution) else {
        return;
    };
    let get = |fault: Fault, range: &str| {
        proxy.clear();
        proxy.add(Rule::on("GET", &path).does(fault));
        let headers: &[_] = if range.is_empty() {
            &[]
        } else {
            &[("Range", range)]
        };
        ask(proxy.address(), "GET", &path, headers, b"")
    };
    let cut = get(Fault::CutResponse { after: 1000 }, "").unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.log().0[0].down, 1000);
    let lost = get(Fault::LoseAnswer, "").unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
    let short = get(Fault::ClaimMore { by: 5 }, "").unwrap_err();
    assert_eq!(short.kind(), ErrorKind::UnexpectedEof);

    let flipped = get(Fault::Flip { at: 70_000 }, "").unwrap().body;
    let differ: Vec<_> = (0..layer.len())
        .filter(|n| flipped[*n] != layer[*n])
        .collect();
    assert_eq!(differ, [70_000]);
    let truncated = get(Fault::Truncate { by: 7 }, "").unwrap().body;
    assert_eq!(truncated, layer[..layer.len() - 7]);
    let extended = get(Fault::Extend { by: 3 }, "").unwrap().body;
    assert_eq!(extended, [&layer[..], &[0; 3]].concat());
    let whole = get(Fault::NoRange, "bytes=5-").unwrap();
    assert_eq!((whole.head.status, whole.body.len()), (200, layer.len()));
    let other = get(Fault::WrongRange, "bytes=1000-").unwrap();
    let says = other.head.headers.get("content-range").unwrap_or_default();
    assert_eq!((says, other.head.status), ("bytes 500-299999/300000", 206));
    assert_eq!(other.body, layer[500..]);
    let bare = get(Fault::Without("docker-content-digest"), "").unwrap();
    assert!(bare.head.headers.get("docker-content-digest").is_none());
    let around = get(Fault::RedirectLoop, "").unwrap().head;
    let to = around.headers.get("location").unwrap_or_default();
    assert_eq!(to, format!("http://{}{path}", proxy.address()));
    let slow = Fault::Drip {
        piece: 100_000,
        pause: Duration::from_millis(1),
    };
    assert_eq!(get(slow, "").unwrap().body, layer);
}

#[test]
fn rules_count() {
    let Some((_registry, proxy, path, _)) = with_a_layer(Kind::Distribution) else {
        return;
    };
    let status = |path: &str| {
        let answer = ask(proxy.address(), "GET", path, &[], b"").unwrap();
        answer.head.status
    };
    let five = |rule: Rule, path: &str| {
        proxy.clear();
        proxy.add(rule.does(Fault::Answer(Answer::status(429).with("Retry-After", "1"))));
        (0..5).map(|_| status(path)).collect::<Vec<_>>()
    };
    let on = || Rule::on("GET|PUT", "/blobs/");
    assert_eq!(five(on().first(2), &path), [429, 429, 200, 200, 200]);
    assert_eq!(five(on().nth(2), &path), [200, 429, 200, 200, 200]);
    assert_eq!(five(on().after(3), &path), [200, 200, 200, 429, 429]);
    assert_eq!(five(on().only(|_| false), &path), [200; 5]);
    assert_eq!(five(on().each_path().first(1), &path)[0], 429);
    assert_eq!(status(&path.replace("a/b", "a/c")), 429, "another");
    assert_eq!(status(&path.replace("a/b", "a/c")), 404);
    assert_eq!(proxy.log().faults(), 2 + 1 + 2 + 1 + 1);
}

#[test]
fn uploads_go_wrong_as_told() {
    for kind in Kind::ALL {
        let Some((registry, proxy, path, layer)) = with_a_layer(kind) else {
            return;
        };
        let address = proxy.address();
        let ask = |method: &str, target: &str, body: &[u8]| ask(address, method, target, &[], body);
        let begin = || {
            let begun = ask("POST", "/v2/c/d/blobs/uploads/", b"").unwrap();
            let location = begun.head.headers.get("location").unwrap();
            let host = format!("http://{address}");
            location.strip_prefix(&host).unwrap_or(location).to_owned()
        };
        proxy.add(
            Rule::on("PATCH", "/blobs/uploads/")
                .nth(1)
                .does(Fault::CutRequest { after: 1000 }),
        );
        proxy.add(
            Rule::on("PATCH", "/blobs/uploads/")
                .nth(2)
                .does(Fault::LoseUpload),
        );
        proxy.add(
            Rule::on("PATCH", "/blobs/uploads/")
                .nth(3)
                .does(Fault::NoPatch),
        );
        assert!(ask("PATCH", &begin(), &layer).is_err(), "cut");
        assert_eq!(proxy.log().of("PATCH", "")[0].up, 1000);
        let session = begin();
        let status = |answer: std::io::Result<http::Answer>| answer.unwrap().head.status;
        assert_eq!(status(ask("PATCH", &session, &layer)), 404);
        assert_eq!(status(ask("PUT", &session, &layer)), 404, "it stays lost");
        assert_eq!(status(ask("PATCH", &begin(), &layer)), 405);
        assert_eq!(status(ask("PATCH", &begin(), &layer)), 202);

        proxy.add(Rule::on("PUT|PATCH", "/uploads/").does(Fault::BodyLimit(100)));
        assert_eq!(status(ask("PUT", &begin(), &layer)), 413);
        proxy.clear();
        let digest = path.rsplit('/').next().unwrap();
        let mount = format!("/v2/c/d/blobs/uploads/?mount={digest}&from=a/b");
        proxy.add(Rule::on("POST", "").does(Fault::RefuseMount));
        assert_eq!(status(ask("POST", &mount, b"")), 202);
        proxy.clear();
        assert_eq!(status(ask("POST", &mount, b"")), 201);

        proxy.add(Rule::on("PUT", "/manifests/").does(Fault::ImmutableTags));
        let (bytes, media_type) = registry::manifest(registry.address(), "a/b", "tag").unwrap();
        let put = |tag: &str, bytes: &[u8]| {
            let target = format!("/v2/a/b/manifests/{tag}");
            let headers = [("Content-Type", &media_type[..])];
            http::ask(address, "PUT", &target, &headers, bytes).unwrap()
        };
        let refused = put("tag", &[&bytes[..], b"\n"].concat());
        assert_eq!(refused.head.status, 400);
        let why = String::from_utf8(refused.body).unwrap();
        assert!(
            why.contains("TAG_INVALID") && why.contains("'tag' already exists in the 'a/b'"),
            "{why}"
        );
        assert_eq!(put("tag", &bytes).head.status, 201, "the same once more");
        assert_eq!(put("new", &bytes).head.status, 201);
    }
}

#[test]
fn what_is_forgotten_stays_so() {
    let Some((_registry, proxy, path, layer)) = with_a_layer(Kind::Distribution) else {
        return;
    };
    proxy.add(Rule::on("GET", &path).first(1).does(Fault::Drip {
        piece: 10_000,
        pause: Duration::from_millis(10),
    }));
    let slow = thread::spawn({
        let (address, path) = (proxy.address().to_owned(), path.clone());
        move || ask(&address, "GET", &path, &[], b"").unwrap().body
    });
    while proxy.log().iter().map(|e| e.down).sum::<u64>() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    proxy.forget();
    // What is still running is nobody's; what comes now is booked for itself.
    let missing = ask(proxy.address(), "GET", "/v2/a/b/blobs/none", &[], b"").unwrap();
    assert_eq!(slow.join().unwrap(), layer);
    let log = proxy.log();
    assert_eq!(log.0.len(), 1, "{log}");
    assert_eq!(log.0[0].down, missing.body.len() as u64, "{log}");
}

#[test]
fn gates_let_in_whom_they_know() {
    let Some((_registry, proxy, path, _)) = with_a_layer(Kind::Distribution) else {
        return;
    };
    let get = |target: &str, authorization: &str| {
        let headers = [("Authorization", authorization)];
        let headers = if authorization.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        ask(proxy.address(), "GET", target, headers, b"").unwrap()
    };
    let basic = |words: &str| format!("Basic {}", BASE64_STANDARD.encode(words));
    proxy.guard(Gate::Basic {
        user: "ann".into(),
        password: "secret".into(),
    });
    assert_eq!(get(&path, "").head.status, 401);
    assert_eq!(get(&path, &basic("ann:guess")).head.status, 401);
    assert_eq!(get(&path, &basic("ann:secret")).head.status, 200);

    proxy.guard(Gate::Tokens(
        Tokens::new("ann", "secret", "identity").uses(2),
    ));
    let refused = get(&path, "").head;
    let challenge = refused.headers.get("www-authenticate").unwrap_or_default();
    assert!(
        challenge.ends_with(r#",scope="repository:a/b:pull""#),
        "{challenge}"
    );
    let token = |answer: http::Answer| {
        assert_eq!(answer.head.status, 200);
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        format!("Bearer {}", json["token"].as_str().unwrap())
    };
    let wanted = "/token?service=x&scope=repository:a/b:pull&scope=repository:c/d:pull,push";
    assert_eq!(get(wanted, "").head.status, 401, "nobody");
    let short = token(get(wanted, &basic("ann:secret")));
    let statuses: Vec<_> = (0..3).map(|_| get(&path, &short).head.status).collect();
    assert_eq!(statuses, [200, 200, 401], "good for two requests");
    let form = "grant_type=refresh_token&refresh_token=identity&scope=repository%3Aa%2Fb%3Apull";
    let posted = ask(
        proxy.address(),
        "POST",
        "/token",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        form.as_bytes(),
    );
    let refreshed = token(posted.unwrap());
    assert_eq!(get(&path, &refreshed).head.status, 200);
    let elsewhere = get(&path.replace("/a/b/", "/e/f/"), &refreshed).head;
    let challenge = elsewhere
        .headers
        .get("www-authenticate")
        .unwrap_or_default();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
}
