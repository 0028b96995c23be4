//! Listing repositories and tags, and removing manifests.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::header::LINK;
use reqwest::{Method, Response};
use url::Url;

use super::client::{Access, Client, Request, failed};
use super::error::{Failure, RegistryError};
use super::reference::RepositoryName;
use super::referrers;
use super::source::body;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits;

/// Most tags of a repository, and most repositories of a registry.
const MAX_LISTED: usize = 1_000_000;

/// What became of a manifest that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It was not there.
    Absent,
}

/// The next page of a list (RFC 8288), if there is one.
///
/// # Errors
/// When it is said to be somewhere else: what is left out must not go unnoticed.
pub(super) fn next_page(response: &Response) -> Result<Option<Url>, Failure> {
    let Some(link) = response
        .headers()
        .get(LINK)
        .and_then(|link| link.to_str().ok())
    else {
        return Ok(None);
    };
    next_link(link, response.url())
}

fn next_link(link: &str, here: &Url) -> Result<Option<Url>, Failure> {
    let parsed = link
        .trim()
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'));
    let Some((target, parameters)) = parsed else {
        return Ok(None);
    };
    let next = parameters
        .split(';')
        .any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
    if !next {
        return Ok(None);
    }
    match here.join(target) {
        Ok(mut url) if url.host() == here.host() => {
            // Behind a proxy a registry may not know how it is spoken to.
            let known = url
                .set_scheme(here.scheme())
                .and_then(|()| url.set_port(here.port()));
            known
                .map_err(|()| Failure::Answer(format!("the next page, {target:?}, is no place")))?;
            Ok(Some(url))
        }
        _ => Err(Failure::Answer(format!(
            "the next page of the list, {target:?}, is not the registry's"
        ))),
    }
}

/// A list whose pages lead round.
pub(super) fn circle(repository: &RepositoryName, url: &Url) -> RegistryError {
    let why = "the pages of the list lead round in a circle".to_owned();
    failed(&Method::GET, url, repository, 1, Failure::Answer(why))
}

pub(super) fn list(client: &Arc<Client>, repository: &RepositoryName) -> Result<Vec<String>> {
    let mut url = client.url(repository, "tags/list")?;
    url.query_pairs_mut().append_pair("n", "1000");
    pages(client, repository, url, Access::Pull, "tags")
}

/// A list that distribution has, and the distribution-spec does not ask for.
pub(super) fn catalog(client: &Arc<Client>, registry: &str) -> Result<Vec<String>> {
    let all = RepositoryName {
        registry: registry.to_owned(),
        repository: String::new(),
    };
    let mut url = client.url(&all, "")?;
    // As long as the registry likes its pages: distribution refuses longer ones.
    url.set_path("/v2/_catalog");
    pages(client, &all, url, Access::Catalog, "repositories")
}

/// All pages of a list that is an object with the one key `name`.
fn pages(
    client: &Arc<Client>,
    repository: &RepositoryName,
    mut url: Url,
    access: Access,
    name: &str,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    while seen.insert(url.clone()) {
        let request = Request::new(Method::GET, url.clone(), repository, access, &[200]);
        let (next, bytes) = client.block(async {
            let response = client.send(&request).await?;
            let next = next_page(&response).map_err(|f| request.failed(f))?;
            let bytes = body(client, response, limits::MAX_DOCUMENT).await;
            Ok::<_, Error>((next, bytes.map_err(|f| request.failed(f))?))
        })?;
        let unread = |why: String| {
            request.failed(Failure::Answer(format!(
                "the list of {name} cannot be read: {why}"
            )))
        };
        let mut page: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes).map_err(|error| unread(error.to_string()))?;
        let page: Option<Vec<String>> =
            serde_json::from_value(page.remove(name).unwrap_or_default())
                .map_err(|error| unread(error.to_string()))?;
        all.extend(page.unwrap_or_default());
        limits::check("names of a list", all.len() as u64, MAX_LISTED as u64).map_err(
            |source| Error::Limit {
                place: repository.to_string(),
                source,
            },
        )?;
        match next {
            Some(next) => url = next,
            None => return Ok(all),
        }
    }
    Err(circle(repository, &url).into())
}

/// Whether a request failed for want of rights.
fn is_denied(error: &RegistryError) -> bool {
    matches!(error.failure, Failure::Credentials(_))
        || matches!(error.failure.status(), Some(401 | 403))
}

pub(super) fn remove(
    client: &Arc<Client>,
    repository: &RepositoryName,
    manifest: &Digest,
    subject: Option<&Digest>,
) -> Result<Removed> {
    if let Some(subject) = subject {
        // First, so that nobody is led to what is gone.
        referrers::remove(client, repository, subject, manifest)?;
    }
    let url = client.url(repository, &format!("manifests/{manifest}"))?;
    let ask = |access| {
        let expect = &[200, 202, 204, 404];
        let request = Request::new(Method::DELETE, url.clone(), repository, access, expect);
        client.block(client.send(&request))
    };
    let mut answer = ask(Access::All);
    if answer.as_ref().is_err_and(is_denied) {
        // Both are about what a token is asked for. Some services refuse the one, others the other.
        answer = ask(Access::Delete).or(answer);
    }
    let response = answer?;
    Ok(if response.status().as_u16() == 404 {
        Removed::Absent
    } else {
        Removed::Gone
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let here: Url = "https://r.example/v2/a/tags/list?n=1".parse().unwrap();
        let next = |link: &str| next_link(link, &here).map(|url| url.map(|url| url.to_string()));
        let page = "https://r.example/v2/a/tags/list?last=b".to_owned();
        assert_eq!(
            next(r#"</v2/a/tags/list?last=b>; rel="next""#).unwrap(),
            Some(page.clone())
        );
        assert_eq!(
            next(r#"<http://r.example/v2/a/tags/list?last=b>; rel="next""#).unwrap(),
            Some(page),
            "a registry behind a proxy that does TLS"
        );
        assert_eq!(next(r#"</x>; rel="prev""#).unwrap(), None);
        assert_eq!(next("nonsense").unwrap(), None);
        assert!(next(r#"<https://elsewhere.example/x>; rel="next""#).is_err());
    }
}
