//! What a registry holds, put there and read back by hand.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::http::{Answer, ask};
use crate::layout::Layout;
use crate::sha256;

/// What to ask a registry for: distribution denies having a manifest of a type that was not asked for.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

fn is_document(media_type: &str) -> bool {
    ACCEPT.split(", ").any(|m| m == media_type)
}

#[track_caller]
fn expect(answer: Answer, statuses: &[u16], what: &str) -> Answer {
    let body = String::from_utf8_lossy(&answer.body);
    let status = answer.head.status;
    assert!(statuses.contains(&status), "{what}: {status}: {body}");
    answer
}

/// Puts a blob into a repository.
fn push_blob(address: &str, repository: &str, bytes: &[u8]) {
    let digest = sha256(bytes);
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    let begun = ask(address, "POST", &uploads, &[], b"").expect("begin an upload");
    let begun = expect(begun, &[202], "begin an upload");
    let location = begun.head.headers.get("location").expect("a location");
    let target = location
        .strip_prefix(&format!("http://{address}"))
        .unwrap_or(location);
    let and = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{and}digest={digest}");
    let headers = [("Content-Type", "application/octet-stream")];
    let done = ask(address, "PUT", &target, &headers, bytes).expect("upload a blob");
    expect(done, &[201], "upload a blob");
}

/// Puts a manifest or an index into a repository, under a tag or its digest.
pub fn push(address: &str, repository: &str, name: &str, media_type: &str, bytes: &[u8]) {
    let target = format!("/v2/{repository}/manifests/{name}");
    let headers = [("Content-Type", media_type)];
    let done = ask(address, "PUT", &target, &headers, bytes).expect("put a manifest");
    expect(done, &[201], "put a manifest");
}

/// Puts the first image of a layout into a repository, with all that it leads to: its digest.
pub fn push_layout(layout: &Layout, address: &str, repository: &str, tag: &str) -> String {
    let index = layout.index_json().expect("index.json");
    let index: Value = serde_json::from_slice(&index).expect("index.json");
    let image = &index["manifests"][0];
    push_document(layout, address, repository, image, Some(tag));
    image["digest"].as_str().expect("a digest").to_owned()
}

fn push_document(
    layout: &Layout,
    address: &str,
    repository: &str,
    descriptor: &Value,
    tag: Option<&str>,
) {
    let digest = descriptor["digest"].as_str().expect("a digest");
    let media_type = descriptor["mediaType"].as_str().expect("a media type");
    let bytes = layout.blob(digest).expect("a blob");
    if !is_document(media_type) {
        push_blob(address, repository, &bytes);
        return;
    }
    for child in children(&serde_json::from_slice(&bytes).expect("JSON")) {
        push_document(layout, address, repository, &child, None);
    }
    push(
        address,
        repository,
        tag.unwrap_or(digest),
        media_type,
        &bytes,
    );
}

/// All that a document leads to.
fn children(document: &Value) -> Vec<Value> {
    let lists = ["manifests", "layers"]
        .iter()
        .filter_map(|k| document[*k].as_array());
    let mut children: Vec<_> = lists.flatten().cloned().collect();
    if document["config"].is_object() {
        children.push(document["config"].clone());
    }
    children
}

/// The bytes and media type of a manifest or index under a tag or digest; none if there is none.
pub fn manifest(address: &str, repository: &str, name: &str) -> Option<(Vec<u8>, String)> {
    let target = format!("/v2/{repository}/manifests/{name}");
    let answer = ask(address, "GET", &target, &[("Accept", ACCEPT)], b"").expect("ask for a tag");
    let answer = expect(answer, &[200, 404], "ask for a tag");
    let media_type = answer.head.headers.get("content-type").unwrap_or_default();
    (answer.head.status == 200).then(|| (answer.body.clone(), media_type.to_owned()))
}

/// All tags of a repository, sorted.
pub fn tags(address: &str, repository: &str) -> Vec<String> {
    let target = format!("/v2/{repository}/tags/list");
    let answer = ask(address, "GET", &target, &[], b"").expect("list tags");
    let answer = expect(answer, &[200, 404], "list tags");
    let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let names = list["tags"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = names
        .iter()
        .filter_map(|t| t.as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// All that a tag leads to.
#[derive(Clone, Debug)]
pub struct Complete {
    /// The digest of what the tag points at.
    pub digest: String,
    /// Media types by digest, of everything.
    pub blobs: BTreeMap<String, String>,
}

/// Reads everything that a tag leads to and checks every digest and size: what it found (none without the tag), or what is
/// wrong.
pub fn complete(address: &str, repository: &str, tag: &str) -> Result<Option<Complete>, String> {
    let Some((bytes, media_type)) = manifest(address, repository, tag) else {
        return Ok(None);
    };
    let digest = sha256(&bytes);
    let blobs = BTreeMap::from([(digest.clone(), media_type)]);
    let mut found = Complete { digest, blobs };
    descend(address, repository, &bytes, &mut found)?;
    Ok(Some(found))
}

fn descend(
    address: &str,
    repository: &str,
    document: &[u8],
    found: &mut Complete,
) -> Result<(), String> {
    let document = serde_json::from_slice(document).map_err(|e| format!("a document: {e}"))?;
    for child in children(&document) {
        let digest = child["digest"].as_str().unwrap_or_default();
        let media_type = child["mediaType"].as_str().unwrap_or_default();
        let named = (digest.to_owned(), media_type.to_owned());
        if found.blobs.insert(named.0, named.1).is_some() {
            continue;
        }
        let kind = if is_document(media_type) {
            "manifests"
        } else {
            "blobs"
        };
        let target = format!("/v2/{repository}/{kind}/{digest}");
        let answer = ask(address, "GET", &target, &[("Accept", ACCEPT)], b"")
            .map_err(|e| format!("{target}: {e}"))?;
        let (status, bytes) = (answer.head.status, &answer.body);
        if status != 200 {
            return Err(format!("{target}: {status}"));
        }
        if sha256(bytes) != digest || child["size"] != bytes.len() {
            return Err(format!("{target}: {} other bytes", bytes.len()));
        }
        if is_document(media_type) {
            descend(address, repository, bytes, found)?;
        }
    }
    Ok(())
}
