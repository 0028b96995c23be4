//! A certificate authority for one test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority that nobody trusts yet.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate"),
        }
    }

    /// Writes its certificate (PEM).
    pub fn write(&self, to: &Path) {
        fs::write(to, self.issuer.pem()).expect("write a certificate");
    }

    /// A certificate for 127.0.0.1 and localhost, and its key, as files in a directory.
    pub(super) fn issue(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
        fs::write(&cert_file, cert.pem()).expect("write a certificate");
        fs::write(&key_file, key.serialize_pem()).expect("write a key");
        (cert_file, key_file)
    }
}
