//! One request: to which URL, with which authorisation, how redirects are followed, when it is sent again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Method, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::Options;
use super::auth::{Challenge, Keyring};
use super::error::{ApiError, Failure, RegistryError};
use super::reference::RepositoryName;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// Uploads at once that keep what they send: all of them together keep a few chunks.
const KEEPERS: usize = 2;
/// Blobs whose repository is remembered.
const MAX_HOMES: usize = 100_000;
/// Longest chain of redirects.
const MAX_REDIRECTS: usize = 5;
/// First and longest pause before a request is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Most bytes of an error's body.
const MAX_ERROR_BODY: usize = 64 << 10;
/// How long a registry may take to answer when it has work to do first, such as hashing an uploaded blob.
const LONG_ANSWER: Duration = Duration::from_mins(15);

/// Connections, tokens and credentials.
pub(super) struct Client {
    pub(super) options: Options,
    http: reqwest::Client,
    unverified: Option<reqwest::Client>,
    keyring: Arc<Keyring>,
    /// Where blobs were written or found, by registry and digest: other repositories can take them over from there.
    homes: Mutex<HashMap<(String, Digest), String>>,
    /// Registries that take a blob in one piece only.
    no_patch: Mutex<HashSet<String>>,
    /// Uploads that keep what they send.
    room: Arc<Semaphore>,
    runtime: tokio::runtime::Runtime,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A request to a repository; its body is sent again with it.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) repository: &'a RepositoryName,
    pub(super) scopes: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Statuses that are an answer and no failure.
    pub(super) expect: &'a [u16],
    /// Whether the registry may take its time.
    pub(super) slow: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        method: Method,
        url: Url,
        repository: &'a RepositoryName,
        access: Access,
        expect: &'a [u16],
    ) -> Self {
        Self {
            method,
            url,
            repository,
            scopes: vec![access.scope(repository)],
            headers: HeaderMap::new(),
            body: Bytes::new(),
            expect,
            slow: false,
        }
    }

    pub(super) fn header(mut self, name: reqwest::header::HeaderName, value: &str) -> Self {
        // What we send ourselves are media types and ranges; a media type from a document may be anything.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    /// This request's failure.
    pub(super) fn failed(&self, failure: Failure) -> RegistryError {
        failed(&self.method, &self.url, self.repository, 1, failure)
    }
}

/// Takes from a URL what may be secret.
pub(super) fn hide(url: &mut Url) {
    url.set_query(None);
    // A URL that cannot have these has none.
    let _ = url.set_password(None);
    let _ = url.set_username("");
}

pub(super) fn failed(
    method: &Method,
    url: &Url,
    repository: &RepositoryName,
    attempts: u32,
    failure: Failure,
) -> RegistryError {
    let mut shown = url.clone();
    hide(&mut shown);
    RegistryError {
        host: repository.registry.clone(),
        method: method.to_string(),
        url: shown.to_string(),
        attempts,
        failure,
    }
}

/// What a token has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
    /// Everything: what most token services take for removing.
    All,
    /// Removing, where a token service knows that.
    Delete,
    /// Listing the repositories of a registry.
    Catalog,
}

impl Access {
    pub(super) fn scope(self, repository: &RepositoryName) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::All => "*",
            Self::Delete => "delete,pull",
            Self::Catalog => return "registry:catalog:*".to_owned(),
        };
        format!("repository:{}:{actions}", repository.repository)
    }
}

/// Whether scopes hold all that others name, word for word.
fn covers(scopes: &[String], named: &[String]) -> bool {
    fn rights(scopes: &[String]) -> HashSet<(&str, &str)> {
        let split = scopes.iter().filter_map(|scope| scope.rsplit_once(':'));
        split
            .flat_map(|(name, actions)| actions.split(',').map(move |action| (name, action)))
            .collect()
    }
    rights(named).is_subset(&rights(scopes))
}

/// Whether an error is, or wraps, one of TLS: errors of I/O hide what they wrap from their `source`.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let wrapped = error.downcast_ref::<std::io::Error>();
    match wrapped.and_then(std::io::Error::get_ref) {
        Some(inner) => is_tls(inner),
        None => error.source().is_some_and(is_tls),
    }
}

/// What reqwest says of a failure, without the URL, which may hold a secret.
pub(super) fn transport(error: reqwest::Error) -> Failure {
    let connecting = error.is_connect();
    let error = error.without_url();
    let mut why = error.to_string();
    let mut tls = false;
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        tls |= is_tls(cause);
        let text = cause.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        next = cause.source();
    }
    if tls && connecting {
        return Failure::Tls(why);
    }
    Failure::Transport { connecting, why }
}

impl Client {
    pub(super) fn new(options: Options) -> Result<Self> {
        let certificates = certificates(&options)?;
        // One provider for the process; that another part has set one already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let build = |verify: bool| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("sociable/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(30))
                .tcp_keepalive(Duration::from_secs(30))
                .pool_idle_timeout(Duration::from_secs(30));
            builder = if verify {
                builder.tls_certs_only(certificates.clone())
            } else {
                builder.tls_danger_accept_invalid_certs(true)
            };
            builder.build().map_err(|error| Error::Setup {
                what: "connections to registries",
                why: error.to_string(),
            })
        };
        Ok(Self {
            http: build(true)?,
            unverified: if options.skip_tls_verify.is_empty() {
                None
            } else {
                Some(build(false)?)
            },
            keyring: Arc::new(Keyring::new(options.authfile.clone())),
            homes: Mutex::default(),
            no_patch: Mutex::default(),
            room: Arc::new(Semaphore::new(KEEPERS)),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("registry")
                .enable_all()
                .build()
                .map_err(Error::io("start", "threads for registries"))?,
            options,
        })
    }

    /// Waits for room for an upload that keeps what it sends.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Remembers that a repository has a blob.
    pub(super) fn remember(&self, repository: &RepositoryName, digest: &Digest) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.len() < MAX_HOMES {
            homes
                .entry((repository.registry.clone(), *digest))
                .or_insert_with(|| repository.repository.clone());
        }
    }

    /// A repository of the same registry that has a blob.
    pub(super) fn home(&self, registry: &str, digest: &Digest) -> Option<RepositoryName> {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = homes.get(&(registry.to_owned(), *digest))?.clone();
        Some(RepositoryName {
            registry: registry.to_owned(),
            repository,
        })
    }

    /// Remembers that a registry refuses every `PATCH`.
    pub(super) fn learn_no_patch(&self, registry: &str) {
        let mut no_patch = self.no_patch.lock().unwrap_or_else(PoisonError::into_inner);
        no_patch.insert(registry.to_owned());
    }

    /// Whether a registry is known to refuse every `PATCH`.
    pub(super) fn takes_no_patch(&self, registry: &str) -> bool {
        let no_patch = self.no_patch.lock().unwrap_or_else(PoisonError::into_inner);
        no_patch.contains(registry)
    }

    /// Waits for something asynchronous.
    pub(super) fn block<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets something go on by itself.
    pub(super) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// `SCHEME://HOST/v2/REPOSITORY/PATH`.
    pub(super) fn url(&self, name: &RepositoryName, path: &str) -> Result<Url, RegistryError> {
        let host = match name.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let scheme = if self.is_plain(&name.registry) {
            "http"
        } else {
            "https"
        };
        let text = format!("{scheme}://{host}/v2/{}/{path}", name.repository);
        text.parse().map_err(|error| RegistryError {
            host: name.registry.clone(),
            method: "GET".to_owned(),
            url: text,
            attempts: 0,
            failure: Failure::Answer(format!("this is no URL: {error}")),
        })
    }

    fn is_plain(&self, host: &str) -> bool {
        self.options.plain_http.iter().any(|plain| plain == host)
    }

    /// The connections for a URL: verified, unless the user said otherwise of its very host.
    pub(super) fn http(&self, url: &Url) -> &reqwest::Client {
        match &self.unverified {
            Some(unverified) if names(&self.options.skip_tls_verify, url) => unverified,
            _ => &self.http,
        }
    }

    /// Whether something may be sent to a URL at all: not in the clear, unless the user said so.
    fn may_send(&self, url: &Url) -> Result<(), Failure> {
        let fine = url.scheme() == "https"
            || (url.scheme() == "http" && names(&self.options.plain_http, url));
        if fine {
            return Ok(());
        }
        Err(Failure::Redirect(format!(
            "the registry leads to {}://{}, which is not encrypted",
            url.scheme(),
            authority(url)
        )))
    }

    /// Whether a URL is the registry's own. Uploads may go elsewhere, and credentials must not.
    fn is_own(&self, repository: &RepositoryName, url: &Url) -> bool {
        self.url(repository, "")
            .is_ok_and(|own| same_origin(&own, url))
    }

    /// Headers for a request to `url`, with authorisation as far as it is known to be needed, and as it is the registry's.
    pub(super) async fn authorized(
        &self,
        repository: &RepositoryName,
        url: &Url,
        scopes: &[String],
        mut headers: HeaderMap,
    ) -> Result<HeaderMap, Failure> {
        self.may_send(url)?;
        if !self.is_own(repository, url) {
            return Ok(headers);
        }
        let header = self
            .keyring
            .header(repository, scopes, |realm| {
                self.may_send(realm)?;
                Ok(self.http(realm).clone())
            })
            .await?;
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header);
        }
        Ok(headers)
    }

    /// Sends a request until it is answered, or has failed for good.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Response, RegistryError> {
        let mut attempts = 0;
        let mut challenged = 0;
        let mut scopes = request.scopes.clone();
        loop {
            attempts += 1;
            let (failure, wait) = match self.once(request, &scopes).await {
                Err(failure) => (failure, None),
                Ok(response) if request.expect.contains(&response.status().as_u16()) => {
                    return Ok(response);
                }
                Ok(response) => {
                    // The first 401 says how to ask; one more may come from a token that has just expired.
                    if response.status().as_u16() == 401
                        && challenged < 2
                        && let Some(wanted) = self
                            .challenged(request, &response, &scopes, challenged > 0)
                            .await
                    {
                        scopes = wanted;
                        challenged += 1;
                        attempts -= 1;
                        continue;
                    }
                    let wait = retry_after(response.headers());
                    (refusal(response).await, wait)
                }
            };
            let fail = |failure| {
                failed(
                    &request.method,
                    &request.url,
                    request.repository,
                    attempts,
                    failure,
                )
            };
            if !failure.may_pass() || attempts > self.options.retries {
                return Err(fail(failure));
            }
            let wait = match wait {
                Some(wait) if wait > self.options.max_wait => {
                    return Err(fail(Failure::Wait(wait)));
                }
                Some(wait) => wait,
                None => pause(attempts),
            };
            self.sleep(wait).await.map_err(fail)?;
        }
    }

    /// Sends a request once, or twice where the first answer says how to ask: for what must not be repeated blindly.
    pub(super) async fn send_once(&self, request: &Request<'_>) -> Result<Response, RegistryError> {
        let mut scopes = request.scopes.clone();
        for attempt in 0.. {
            let sent = self.once(request, &scopes).await;
            let response = sent.map_err(|f| request.failed(f))?;
            if request.expect.contains(&response.status().as_u16()) {
                return Ok(response);
            }
            let wanted = if response.status().as_u16() == 401 && attempt < 2 {
                self.challenged(request, &response, &scopes, attempt > 0)
                    .await
            } else {
                None
            };
            match wanted {
                Some(wanted) => scopes = wanted,
                None => return Err(request.failed(refusal(response).await)),
            }
        }
        Err(request.failed(Failure::Interrupted))
    }

    /// Takes a 401 in: the scopes to try with next; `None` where there is nothing new to try.
    ///
    /// With a token for our own scopes refused, those that the registry names are asked for, if they are others: it knows
    /// best whether removing takes `*`, `delete` or `push`, and by which name its token service knows the repository.
    async fn challenged(
        &self,
        request: &Request<'_>,
        response: &Response,
        scopes: &[String],
        again: bool,
    ) -> Option<Vec<String>> {
        let (challenge, named) = Challenge::of(response.headers(), response.url())?;
        let host = &request.repository.registry;
        // Only the registry itself may say where its tokens are: not where it redirects or uploads to.
        if !self.is_own(request.repository, response.url()) {
            return None;
        }
        self.keyring.learn(host, challenge);
        if !again {
            return Some(scopes.to_vec());
        }
        self.keyring.forget(host, scopes).await;
        Some(if covers(scopes, &named) {
            scopes.to_vec()
        } else {
            named
        })
    }

    /// Sends a request once, with a token for these scopes if the registry wants one, and follows redirects.
    async fn once(&self, request: &Request<'_>, scopes: &[String]) -> Result<Response, Failure> {
        let mut url = request.url.clone();
        let mut headers = self
            .watched(self.authorized(request.repository, &url, scopes, request.headers.clone()))
            .await??;
        for _ in 0..=MAX_REDIRECTS {
            self.may_send(&url)?;
            let sent = self
                .http(&url)
                .request(request.method.clone(), url.clone())
                .headers(headers.clone())
                .body(request.body.clone())
                .send();
            let patience = if request.slow {
                LONG_ANSWER
            } else {
                self.options.idle_timeout
            };
            let response = self
                .watched(tokio::time::timeout(patience, sent))
                .await?
                .map_err(|_| Failure::Stalled(patience))?
                .map_err(transport)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let next = location(&response)?;
            if !same_origin(&next, &url) {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(Failure::Redirect(format!(
            "it redirects more than {MAX_REDIRECTS} times, last to {}",
            authority(&url)
        )))
    }

    /// Waits, unless the user wants to stop.
    pub(super) async fn sleep(&self, duration: Duration) -> Result<(), Failure> {
        self.watched(tokio::time::sleep(duration)).await
    }

    /// Something that the user may interrupt.
    pub(super) async fn watched<F: Future>(&self, future: F) -> Result<F::Output, Failure> {
        let Some(interrupted) = self.options.interrupted else {
            return Ok(future.await);
        };
        let mut future = std::pin::pin!(future);
        loop {
            match tokio::time::timeout(Duration::from_millis(100), &mut future).await {
                Ok(output) => return Ok(output),
                Err(_) if interrupted() => return Err(Failure::Interrupted),
                Err(_) => {}
            }
        }
    }
}

/// What a refusing answer says.
pub(super) async fn refusal(mut response: Response) -> Failure {
    let code = response.status().as_u16();
    let mut body = Vec::new();
    let read = async {
        // A body that cannot be read says nothing.
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ERROR_BODY {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await;
    Failure::Status {
        code,
        errors: ApiError::parse(&body),
    }
}

/// Where an answer leads.
pub(super) fn location(response: &Response) -> Result<Url, Failure> {
    response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| response.url().join(text).ok())
        .ok_or_else(|| Failure::Answer("the answer has no usable Location".to_owned()))
}

/// The pause before the next attempt: it doubles, and no two programs have the same.
pub(super) fn pause(attempts: u32) -> Duration {
    let longest = PAUSE
        .0
        .saturating_mul(1 << attempts.saturating_sub(1).min(10))
        .min(PAUSE.1);
    longest.mul_f64(0.5 + 0.5 * jitter())
}

/// Something between 0 and 1.
pub(super) fn jitter() -> f64 {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    let mixed = nanos.wrapping_mul(2_654_435_769) ^ std::process::id().wrapping_mul(40_503);
    f64::from(mixed % 1000) / 1000.0
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether a list of hosts names the one of a URL: as `HOST` or with its port, which may be the usual one.
fn names(hosts: &[String], url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let with_port = url
        .port_or_known_default()
        .map(|port| format!("{host}:{port}"));
    hosts
        .iter()
        .any(|named| Some(named) == with_port.as_ref() || (named == host && url.port().is_none()))
}

/// `HOST[:PORT]`.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// What is trusted: the system's certificates and the user's; Mozilla's where the system has none, as in an image from scratch.
fn certificates(options: &Options) -> Result<Vec<Certificate>> {
    let mut trusted = Vec::new();
    for file in &options.ca_files {
        let place = file.display().to_string();
        let pem = fs::read(file).map_err(Error::io("read certificates from", place.clone()))?;
        let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if found.is_empty() {
            return Err(Error::Setup {
                what: "connections to registries",
                why: format!("{place} holds no certificate in PEM form"),
            });
        }
        trusted.extend(found);
    }
    let system = rustls_native_certs::load_native_certs().certs;
    let mozilla: &[_] = if system.is_empty() {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
    } else {
        &[]
    };
    let ders = system.iter().chain(mozilla);
    trusted.extend(ders.filter_map(|der| Certificate::from_der(der).ok()));
    Ok(trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(plain: &[&str]) -> Client {
        Client::new(Options {
            plain_http: plain.iter().map(|&host| host.to_owned()).collect(),
            ..Options::default()
        })
        .unwrap()
    }

    #[test]
    fn urls() {
        let client = client(&["127.0.0.1:5000"]);
        let url = |text: &str| {
            let name = text.parse::<super::super::Reference>().unwrap().name;
            client.url(&name, "tags/list").unwrap().to_string()
        };
        assert_eq!(
            url("alpine"),
            "https://registry-1.docker.io/v2/library/alpine/tags/list"
        );
        assert_eq!(
            url("127.0.0.1:5000/a"),
            "http://127.0.0.1:5000/v2/a/tags/list"
        );
        assert_eq!(
            url("127.0.0.1:5001/a"),
            "https://127.0.0.1:5001/v2/a/tags/list"
        );
    }

    #[test]
    fn nothing_goes_out_in_the_clear_unasked() {
        let client = client(&["127.0.0.1:5000"]);
        for (url, fine) in [
            ("https://storage.example/x", true),
            ("http://127.0.0.1:5000/x", true),
            ("http://127.0.0.1:5001/x", false),
            ("http://storage.example/x", false),
            ("ftp://127.0.0.1:5000/x", false),
        ] {
            assert_eq!(
                client.may_send(&url.parse().unwrap()).is_ok(),
                fine,
                "{url}"
            );
        }
        let names = |host: &str, url: &str| super::names(&[host.to_owned()], &url.parse().unwrap());
        assert!(names("r.example:80", "http://r.example/x"));
        assert!(names("r.example:443", "https://r.example/x"));
        assert!(names("r.example", "https://r.example/x"));
        assert!(!names("r.example", "https://r.example:444/x"));
        assert!(!names("r.example:443", "http://r.example/x"));
    }

    #[test]
    fn credentials_are_for_the_registry_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("auth.json");
        std::fs::write(&file, r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#).unwrap();
        let client = Client::new(Options {
            authfile: Some(file),
            ..Options::default()
        })
        .unwrap();
        client.keyring.learn("r.example", Challenge::Basic);
        let name = "r.example/a"
            .parse::<super::super::Reference>()
            .unwrap()
            .name;
        let sent = |url: &str| {
            let url = url.parse().unwrap();
            let scopes = [Access::Push.scope(&name)];
            let headers = client.authorized(&name, &url, &scopes, HeaderMap::new());
            client
                .block(headers)
                .map(|headers| headers.contains_key(AUTHORIZATION))
        };
        assert_eq!(
            sent("https://r.example/v2/a/blobs/uploads/1").ok(),
            Some(true)
        );
        assert_eq!(sent("https://uploads.example/1").ok(), Some(false));
        assert_eq!(sent("https://r.example:444/1").ok(), Some(false));
        assert!(sent("http://r.example/1").is_err(), "not encrypted");
    }

    #[test]
    fn scopes() {
        let covers = |ours: &str, named: &str| {
            super::covers(&[ours.to_owned()], &[named.to_owned(), String::new()])
        };
        assert!(covers("repository:a/b:pull,push", "repository:a/b:push"));
        assert!(covers("repository:a/b:pull", ""), "none named");
        assert!(!covers("repository:a/b:*", "repository:a/b:delete"));
        assert!(!covers("repository:a/b:pull", "repository:other:pull"));
    }

    #[test]
    fn when_to_come_back() {
        let headers = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            headers
        };
        assert_eq!(retry_after(&headers("7")), Some(Duration::from_secs(7)));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let wait = retry_after(&headers(&soon)).unwrap();
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(
            retry_after(&headers("Fri, 01 Jan 1999 00:00:00 GMT")),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after(&headers("soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn pauses_grow_and_end() {
        assert!(pause(1) <= PAUSE.0);
        assert!(pause(3) >= PAUSE.0);
        assert!(pause(60) <= PAUSE.1);
    }

    #[test]
    fn certificates_that_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "hello").unwrap();
        let options = Options {
            ca_files: vec![file],
            ..Options::default()
        };
        let error = Client::new(options).unwrap_err().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
