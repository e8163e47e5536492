//! TLS, as `sslmode` asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::{WireError, WireResult as Result};

/// What is asked of TLS, as libpq's `sslmode` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS where the server speaks it; its certificate is not checked.
    Prefer,
    /// TLS; its certificate is checked only where a root certificate is named.
    Require,
    /// TLS with a certificate that a trusted authority has signed.
    VerifyCa,
    /// The same, and the certificate is of this host.
    VerifyFull,
}

impl TlsMode {
    /// The words of `sslmode`.
    pub(in crate::postgres) const WORDS: &[(&str, Self)] = &[
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

/// The configuration of TLS for a mode. `roots` is a file of certificates to trust in the place of
/// the public authorities.
///
/// # Errors
/// A file that can't be read.
pub(super) fn config(mode: TlsMode, roots: Option<&PathBuf>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| WireError::Tls(error.to_string()))?;
    let checks = match (mode, roots) {
        (TlsMode::VerifyFull, _) => Checks::All,
        (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => Checks::Authority,
        (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => Checks::None,
    };
    let config = match checks {
        Checks::All => builder.with_root_certificates(trusted(roots)?).with_no_client_auth(),
        Checks::Authority | Checks::None => {
            let is_lenient = checks == Checks::None;
            let roots = if is_lenient { RootCertStore::empty() } else { trusted(roots)? };
            let verifier = Lenient { roots: (!is_lenient).then_some(roots), provider };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// What is checked of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    None,
    Authority,
    All,
}

/// The certificates to trust.
fn trusted(file: Option<&PathBuf>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    for certificate in read_certificates(file)? {
        roots.add(certificate).map_err(|error| unreadable(file, &error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(unreadable(file, "it has no certificate")),
        false => Ok(roots),
    }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file)
        .map_err(|error| unreadable(file, &error.to_string()))?
        .collect::<std::result::Result<_, _>>();
    certificates.map_err(|error| unreadable(file, &error.to_string()))
}

fn unreadable(file: &Path, why: &str) -> WireError {
    WireError::Tls(format!("sslrootcert '{}' can't be read: {why}", file.display()))
}

/// Checks less than everything: who signed a certificate, or nothing at all.
#[derive(Debug)]
struct Lenient {
    /// Who must have signed it.
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
