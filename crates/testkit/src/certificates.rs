//! Certificates for tests: an authority, and what it signs, as files in PEM.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// The days for which a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is good now and for long.
    Now,
    /// It is good now, and for five days.
    Soon,
    /// It was good once.
    Past,
    /// It will be good in the year 2101.
    Future,
}

/// An authority that signs certificates for `127.0.0.1` and `localhost`. Its files go when it is dropped.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority of this name.
    ///
    /// # Panics
    /// Panics when it cannot be made or written.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key is made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority signs itself");
        let folder = tempfile::tempdir().expect("there is room for files");
        let authority = Self { issuer, folder };
        write(&authority.ca_file(), &authority.ca_pem());
        authority
    }

    /// Returns the folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the file of its own certificate, by which it is trusted.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns its own certificate in PEM.
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a certificate that is good now, and writes it and its key to files of this name.
    ///
    /// # Panics
    /// Panics when it cannot be made or written.
    pub fn sign(&self, name: &str) -> Certified {
        self.sign_for(name, Validity::Now)
    }

    /// Signs a certificate as [`Authority::sign`] does, for other days.
    ///
    /// # Panics
    /// Panics when it cannot be made or written.
    pub fn sign_for(&self, name: &str, validity: Validity) -> Certified {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).expect("the names are good");
        params.distinguished_name.push(DnType::CommonName, name);
        match validity {
            Validity::Now => {}
            Validity::Soon => params.not_after = OffsetDateTime::now_utc() + Duration::days(5),
            Validity::Past => {
                (params.not_before, params.not_after) =
                    (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
            }
            Validity::Future => {
                (params.not_before, params.not_after) =
                    (date_time_ymd(2101, 1, 1), date_time_ymd(2102, 1, 1));
            }
        }
        let key = KeyPair::generate().expect("a key is made");
        let cert = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let path = |kind: &str| self.folder.path().join(format!("{name}.{kind}.pem"));
        let certified = Certified { cert: path("cert"), key: path("key") };
        write(&certified.cert, &cert.pem());
        write(&certified.key, &key.serialize_pem());
        certified
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file is written");
}
