//! Certificates: those that are given, and one that the server makes for itself, so that a phone
//! on the same network may use its microphone, which browsers allow on encrypted pages only.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// A certificate that the server made is used for this long; browsers refuse what is valid for
/// more than 398 days.
const RENEWED_AFTER: Duration = Duration::from_hours(300 * 24);
/// Days that it is valid.
const VALID_DAYS: i64 = 397;

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written, or is none.
    #[error("{}: {detail}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, with those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certificate {
    /// The certificate that the server has made for itself in `dir`; a new one where there is
    /// none or it is old. It is for this machine's names and for `host`.
    ///
    /// # Errors
    /// When `dir` cannot be written.
    pub fn self_signed(dir: &Path, host: IpAddr) -> Result<Self, TlsError> {
        let own = Self { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(sysinfo::System::host_name());
        if !host.is_unspecified() {
            names.push(host.to_string());
        }
        names.dedup();
        // What the certificate is for, so that a change of address brings another.
        let list = dir.join("names.txt");
        let wanted = names.join("\n");
        let modified = fs::metadata(&own.certificate).and_then(|it| it.modified()).ok();
        let age = modified.and_then(|time| time.elapsed().ok());
        let same_names = fs::read_to_string(&list).is_ok_and(|known| known == wanted);
        if age.is_some_and(|age| age < RENEWED_AFTER) && same_names && own.key.is_file() {
            return Ok(own);
        }
        // The old one first: a key and a certificate that do not belong together are of no use.
        let _ = fs::remove_file(&own.certificate);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "Mega Pipeline");
        let today = jiff::Zoned::now().date();
        let until = today.saturating_add(jiff::Span::new().days(VALID_DAYS));
        let day = |date: jiff::civil::Date| {
            date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
        };
        params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
        params.not_after = day(until);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        fs::create_dir_all(dir).map_err(|error| file(dir, error))?;
        write_private(&list, &wanted)?;
        write_private(&own.key, &key.serialize_pem())?;
        write_private(&own.certificate, &certificate.pem())?;
        Ok(own)
    }

    /// SHA-256 of the certificate, as browsers show it, so that a person can compare.
    ///
    /// # Errors
    /// When the file holds no certificate.
    pub fn fingerprint(&self) -> Result<String, TlsError> {
        let der = CertificateDer::from_pem_file(&self.certificate)
            .map_err(|error| file(&self.certificate, error))?;
        let digest = Sha256::digest(der.as_ref());
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(pairs.join(":"))
    }

    /// The certificate, ready to be used.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not belong together.
    pub async fn load(&self) -> Result<RustlsConfig, TlsError> {
        // Fails only where somebody else has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let loaded = RustlsConfig::from_pem_file(&self.certificate, &self.key)
            .await
            .map_err(|error| file(&self.certificate, error))?;
        let mut config = rustls::ServerConfig::clone(&loaded.get_inner());
        // What `serve` speaks.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(RustlsConfig::from_config(Arc::new(config)))
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let written = || -> io::Result<()> {
        let _ = fs::remove_file(path);
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut out, text.as_bytes())
    };
    written().map_err(|error| file(path, error))
}

fn file(path: &Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), detail: error.to_string() }
}
