//! Who we are: challenges, tokens, and where credentials come from.
//!
//! A registry says with its first 401 how it wants to be spoken to: `Basic`, or `Bearer` with a token service
//! (distribution's `spec/auth/token.md` and `oauth.md`). Tokens are kept for as long as they are valid, per host and scope.
//!
//! Credentials are looked for in this order; the first file that has some for the registry, or for a part of the
//! repository's path (as podman writes it), decides:
//! 1. [`Options::authfile`](super::Options::authfile), and then nothing else
//! 2. `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`
//! 4. for Amazon ECR, the helper `docker-credential-ecr-login` if it is installed: it follows the AWS SDK's own chain
//!    (environment, profiles, container and instance roles), which the SDK for Rust would bring along with some 150 crates

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::error::Failure;
use super::reference::RepositoryName;

/// How a registry wants to be spoken to.
#[derive(Debug, Clone)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

impl Challenge {
    /// The one of a 401 that we can meet, and the scopes that it names for the request.
    pub(super) fn of(headers: &HeaderMap, base: &Url) -> Option<(Self, Vec<String>)> {
        let mut basic = false;
        for header in headers.get_all(WWW_AUTHENTICATE) {
            for challenge in http_auth::parse_challenges(header.to_str().ok()?).ok()? {
                let parameter = |name: &str| {
                    challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let scopes = parameter("scope").unwrap_or_default();
                    let bearer = Self::Bearer {
                        realm: base.join(&parameter("realm")?).ok()?,
                        service: parameter("service"),
                    };
                    let scopes = scopes.split_whitespace().map(str::to_owned);
                    return Some((bearer, scopes.collect()));
                }
                basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            }
        }
        basic.then(|| (Self::Basic, Vec::new()))
    }
}

/// What a user has for a registry. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Nothing,
    Password {
        user: String,
        password: String,
    },
    /// A refresh token, which `docker login` keeps for some registries.
    Identity(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Password { .. } => "Password(…)",
            Self::Identity(_) => "Identity(…)",
        })
    }
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

/// Challenges, tokens and credentials of one run.
pub(super) struct Keyring {
    authfile: Option<PathBuf>,
    challenges: Mutex<HashMap<String, Challenge>>,
    credentials: Mutex<HashMap<String, Credentials>>,
    /// One at a time: several threads want the same token at once.
    tokens: tokio::sync::Mutex<HashMap<(String, Vec<String>), Token>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// Shortest life of a token (token.md: "for compatibility … no less than 60 seconds").
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

impl Keyring {
    pub(super) fn new(authfile: Option<PathBuf>) -> Self {
        Self {
            authfile,
            challenges: Mutex::default(),
            credentials: Mutex::default(),
            tokens: tokio::sync::Mutex::default(),
        }
    }

    /// Remembers what a 401 asked for.
    pub(super) fn learn(&self, host: &str, challenge: Challenge) {
        let mut challenges = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.insert(host.to_owned(), challenge);
    }

    /// Forgets tokens and credentials: they were refused.
    pub(super) async fn forget(&self, host: &str, scopes: &[String]) {
        let key = (host.to_owned(), scopes.to_vec());
        self.tokens.lock().await.remove(&key);
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, _| !(name == host || name.starts_with(&format!("{host}/"))));
    }

    /// The `Authorization` header for a request, as far as the host has asked for one.
    pub(super) async fn header(
        self: &Arc<Self>,
        name: &RepositoryName,
        scopes: &[String],
        http_for: impl Fn(&Url) -> Result<reqwest::Client, Failure>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let challenge = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&name.registry)
            .cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => match self.credentials(name).await? {
                Credentials::Password { user, password } => basic(&user, &password).map(Some),
                Credentials::Identity(_) => Err(Failure::Credentials(
                    "the registry wants a user name and password, and there is an identity token only"
                        .to_owned(),
                )),
                Credentials::Nothing => Ok(None),
            },
            Some(Challenge::Bearer { realm, service }) => {
                let key = (name.registry.clone(), scopes.to_vec());
                let mut tokens = self.tokens.lock().await;
                if let Some(token) = tokens.get(&key)
                    && Instant::now() < token.until
                {
                    return Ok(Some(token.header.clone()));
                }
                let http = http_for(&realm)?;
                let credentials = self.credentials(name).await?;
                let fetched = fetch(&http, realm, service, scopes, &credentials);
                let token = tokio::time::timeout(PATIENCE, fetched)
                    .await
                    .map_err(|_| Failure::Stalled(PATIENCE))??;
                let header = token.header.clone();
                tokens.insert(key, token);
                Ok(Some(header))
            }
        }
    }

    /// What the user has, looked up once.
    pub(super) async fn credentials(
        self: &Arc<Self>,
        name: &RepositoryName,
    ) -> Result<Credentials, Failure> {
        let key = name.to_string();
        let known = {
            let credentials = self
                .credentials
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            credentials.get(&key).cloned()
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let (this, repository) = (Arc::clone(self), name.clone());
        let found =
            tokio::task::spawn_blocking(move || look_up(this.authfile.as_deref(), &repository))
                .await
                .unwrap_or_else(|_| {
                    Err(Failure::Credentials(
                        "looking for credentials was given up".to_owned(),
                    ))
                })?;
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, found.clone());
        Ok(found)
    }
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret(&format!("Basic {both}"))
}

fn secret(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::Credentials("the credentials hold characters that no header can carry".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// How long a token service may take, all in all.
const PATIENCE: Duration = Duration::from_mins(1);
/// Most bytes of a token service's answer.
const MAX_TOKEN: usize = 1 << 20;

async fn fetch(
    http: &reqwest::Client,
    realm: Url,
    service: Option<String>,
    scopes: &[String],
    credentials: &Credentials,
) -> Result<Token, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let mut place = realm.clone();
    super::client::hide(&mut place);
    let failed = |why: String| Failure::Credentials(format!("token service {place}: {why}"));
    let mut fields: Vec<(&str, &str)> = Vec::new();
    if let Some(service) = &service {
        fields.push(("service", service));
    }
    let all = scopes.join(" ");
    let request = match credentials {
        Credentials::Identity(token) => {
            fields.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "sociable"),
                ("scope", &all),
                ("refresh_token", token),
            ]);
            http.post(realm).form(&fields)
        }
        other => {
            fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            let request = http.get(realm).query(&fields);
            match other {
                Credentials::Password { user, password } => {
                    request.header(reqwest::header::AUTHORIZATION, basic(user, password)?)
                }
                _ => request,
            }
        }
    };
    let asked = Instant::now();
    let transport = |error: reqwest::Error| super::client::transport(error);
    let mut response = request.send().await.map_err(transport)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > MAX_TOKEN {
            return Err(failed("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    if status.as_u16() == 401 || status.as_u16() == 403 || status.as_u16() == 400 {
        let with = match credentials {
            Credentials::Nothing => "without credentials",
            Credentials::Password { .. } => "with this user name and password",
            Credentials::Identity(_) => "with this identity token",
        };
        return Err(failed(format!("no token {with} ({status})")));
    }
    if !status.is_success() {
        return Err(Failure::Status {
            code: status.as_u16(),
            errors: super::error::ApiError::parse(&body),
        });
    }
    let answer: Answer = serde_json::from_slice(&body)
        // The answer may hold a token: what serde says of it could quote it.
        .map_err(|_| failed("its answer is no token".to_owned()))?;
    let token = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| failed("its answer holds no token".to_owned()))?;
    let life = answer
        .expires_in
        .map_or(DEFAULT_LIFE, Duration::from_secs)
        .min(Duration::from_hours(24));
    Ok(Token {
        header: secret(&format!("Bearer {token}"))?,
        until: asked + life.mul_f64(0.9),
    })
}

/// Docker's own name for Docker Hub in `config.json`.
pub(super) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The names under which credentials for a repository may be kept: the most special first.
fn keys(name: &RepositoryName) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = name.to_string();
    loop {
        keys.push(path.clone());
        match path.rfind('/') {
            Some(at) => path.truncate(at),
            None => break,
        }
    }
    if name.registry == "docker.io" {
        keys.extend([DOCKER_HUB.to_owned(), "index.docker.io".to_owned()]);
    }
    keys
}

pub(super) fn look_up(
    authfile: Option<&Path>,
    name: &RepositoryName,
) -> Result<Credentials, Failure> {
    let files = match authfile {
        Some(file) => vec![(file.to_owned(), true)],
        None => default_files().into_iter().map(|f| (f, false)).collect(),
    };
    for (file, needed) in files {
        if !needed && !file.is_file() {
            continue;
        }
        if let Some(found) = in_file(&file, name)? {
            return Ok(found);
        }
    }
    if is_ecr(&name.registry) && has_program("docker-credential-ecr-login") {
        let config = format!(r#"{{"credHelpers":{{"{}":"ecr-login"}}}}"#, name.registry);
        let found =
            docker_credential::get_credential_from_reader(config.as_bytes(), &name.registry);
        return found.map(into).map_err(|error| {
            Failure::Credentials(format!("Amazon ECR's credential helper: {}", say(&error)))
        });
    }
    Ok(Credentials::Nothing)
}

fn default_files() -> Vec<PathBuf> {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let home = var("HOME");
    let under_home = |path: &str| home.as_ref().map(|home| home.join(path));
    [
        var("DOCKER_CONFIG")
            .or_else(|| under_home(".docker"))
            .map(|dir| dir.join("config.json")),
        var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        under_home(".config/containers/auth.json"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn in_file(file: &Path, name: &RepositoryName) -> Result<Option<Credentials>, Failure> {
    let failed = |why: String| Failure::Credentials(format!("{}: {why}", file.display()));
    let asked = match name.registry.as_str() {
        "docker.io" => DOCKER_HUB,
        host => host,
    };
    for key in keys(name) {
        let open = File::open(file).map_err(|error| failed(format!("cannot be read: {error}")))?;
        match docker_credential::get_credential_from_reader(BufReader::new(open), &key) {
            // A helper that has nothing may answer with nothing.
            Ok(DockerCredential::UsernamePassword(user, password))
                if user.is_empty() && password.is_empty() => {}
            Ok(found) => return Ok(Some(into(found))),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            // Docker asks helpers for hosts only; what one makes of a longer name says nothing.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if key != asked || stdout.contains("credentials not found") => {}
            // An entry of `auths` beside a store is empty: the store, asked for this name above, has nothing for it.
            Err(CredentialRetrievalError::CredentialDecodingError) if key != asked => {}
            Err(error) => return Err(failed(format!("credentials of {key}: {}", say(&error)))),
        }
    }
    Ok(None)
}

/// What may be said of a failed look-up: a helper's output could hold a secret, so only that it failed.
fn say(error: &CredentialRetrievalError) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => {
            format!("the helper {helper} failed; run it by hand to see why")
        }
        CredentialRetrievalError::HelperCommunicationError => {
            "the credential helper cannot be run: is it installed?".to_owned()
        }
        CredentialRetrievalError::ConfigReadError => "the file is not valid JSON".to_owned(),
        other => other.to_string(),
    }
}

fn into(found: DockerCredential) -> Credentials {
    match found {
        DockerCredential::IdentityToken(token) => Credentials::Identity(token),
        // As docker has it: a helper that answers with this user gives an identity token.
        DockerCredential::UsernamePassword(user, token) if user == "<token>" => {
            Credentials::Identity(token)
        }
        DockerCredential::UsernamePassword(user, password) => {
            Credentials::Password { user, password }
        }
    }
}

/// `ACCOUNT.dkr.ecr[-fips].REGION.amazonaws.com[.cn]`, and the newer `.on.aws` names.
fn is_ecr(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let account = |l: &str| l.len() == 12 && l.bytes().all(|b| b.is_ascii_digit());
    match labels[..] {
        [id, "dkr", ecr, _, "amazonaws", "com"] | [id, "dkr", ecr, _, "amazonaws", "com", "cn"] => {
            account(id) && (ecr == "ecr" || ecr == "ecr-fips")
        }
        [id, ecr, _, "on", "aws"] => id.get(..12).is_some_and(account) && ecr.contains("ecr"),
        _ => false,
    }
}

fn has_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse::<super::super::Reference>().unwrap().name
    }

    #[test]
    fn challenges() {
        let base: Url = "https://r.example/v2/".parse().unwrap();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap());
            Challenge::of(&headers, &base)
        };
        let Some((Challenge::Bearer { realm, service }, scopes)) = of(
            r#"Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull repository:b:pull""#,
        ) else {
            panic!("a bearer challenge");
        };
        assert_eq!(scopes, ["repository:a:pull", "repository:b:pull"]);
        assert_eq!(realm.as_str(), "https://auth.example/token");
        assert_eq!(service.as_deref(), Some("r"));
        assert!(matches!(
            of(r#"Basic realm="x""#),
            Some((Challenge::Basic, _))
        ));
        assert!(of("Negotiate").is_none());
    }

    #[test]
    fn files_and_keys() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("auth.json");
        let enc = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        std::fs::write(
            &file,
            format!(
                r#"{{"auths":{{"r.example":{{"auth":"{}"}},"r.example/team":{{"auth":"{}"}},
                "https://index.docker.io/v1/":{{"identitytoken":"t"}}}}}}"#,
                enc("u:p"),
                enc("team:q:r")
            ),
        )
        .unwrap();
        let password = |user: &str, password: &str| Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let find = |text: &str| look_up(Some(&file), &name(text)).unwrap();
        assert_eq!(find("r.example/other/x"), password("u", "p"));
        assert_eq!(find("r.example/team/x"), password("team", "q:r"));
        assert_eq!(find("alpine"), Credentials::Identity("t".to_owned()));
        assert_eq!(find("elsewhere.example/x"), Credentials::Nothing);
        assert_eq!(format!("{:?}", find("alpine")), "Identity(…)");
        let missing = look_up(Some(&dir.path().join("none")), &name("a")).unwrap_err();
        assert!(missing.to_string().contains("cannot be read"));
        std::fs::write(&file, "{").unwrap();
        let broken = look_up(Some(&file), &name("a")).unwrap_err().to_string();
        assert!(broken.contains("not valid JSON"), "{broken}");
    }

    #[test]
    fn amazon() {
        assert!(is_ecr("123456789012.dkr.ecr.eu-west-1.amazonaws.com"));
        assert!(is_ecr("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com"));
        assert!(is_ecr("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"));
        assert!(!is_ecr(
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example"
        ));
        assert!(!is_ecr("public.ecr.aws"));
    }
}
