//! Whom we trust: the TLS settings of every outgoing connection.
//!
//! The roots are the ones compiled in (Mozilla's list), so that a minimal system without
//! certificate files works, plus at most one file of further authorities for simulated venues and
//! private networks. The crypto provider is named explicitly: a process default would depend on
//! which features other crates switch on.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{NetError, Stage};

/// Largest file of extra authorities; a whole system bundle has about 250 KB.
pub const MAX_CA_FILE_BYTES: u64 = 1 << 20;

/// The client side of TLS 1.2 and 1.3 on ring, trusting the compiled-in roots and every certificate
/// in `extra_ca_pem`. No client certificate and no ALPN: both HTTP/1.1 and WebSocket work without
/// it.
///
/// # Errors
/// [`Stage::Tls`] with `retry: false` if the file cannot be read, is larger than
/// [`MAX_CA_FILE_BYTES`], holds no certificate, or holds one that cannot be an authority.
pub fn client_config(extra_ca_pem: Option<&Path>) -> Result<Arc<ClientConfig>, NetError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = extra_ca_pem {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| {
            NetError::lasting(
                Stage::Tls,
                format!("the crypto provider offers neither TLS 1.3 nor 1.2: {e}"),
                "rebuild with the ring provider",
            )
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), NetError> {
    let refuse = |cause: String, remedy| {
        let detail = format!("the certificate file {} {cause}", path.display());
        Err(NetError::lasting(Stage::Tls, detail, remedy))
    };
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|f| f.take(MAX_CA_FILE_BYTES + 1).read_to_end(&mut pem));
    if let Err(e) = read {
        return refuse(
            format!("cannot be read: {e}"),
            "correct its path or its permissions",
        );
    }
    if pem.len() as u64 > MAX_CA_FILE_BYTES {
        return refuse(
            format!("is larger than {MAX_CA_FILE_BYTES} bytes"),
            "keep only the authorities that are needed",
        );
    }
    let mut count = 0_u32;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate
            .map_err(|e| e.to_string())
            .and_then(|c| roots.add(c).map_err(|e| e.to_string()));
        if let Err(e) = added {
            return refuse(
                format!("holds a bad certificate after {count} good ones: {e}"),
                "export the authority again, in PEM",
            );
        }
        count += 1;
    }
    if count == 0 {
        return refuse(
            "holds no certificate".to_owned(),
            "export the authority in PEM",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_roots_suffice() {
        let config = client_config(None).unwrap();
        assert!(config.alpn_protocols.is_empty());
        assert!(config.enable_sni);
    }

    #[test]
    fn a_bad_file_is_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let case = |name: &str, content: Option<Vec<u8>>| {
            let path = dir.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = client_config(Some(&path)).unwrap_err();
            assert_eq!(error.stage, Stage::Tls);
            assert!(!error.retry);
            assert!(error.to_string().contains(name), "{error}");
            error.to_string()
        };
        assert!(case("absent.pem", None).contains("cannot be read"));
        assert!(case("empty.pem", Some(Vec::new())).contains("holds no certificate"));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        assert!(case("broken.pem", Some(broken)).contains("bad certificate"));
        let vast = vec![b'\n'; MAX_CA_FILE_BYTES as usize + 1];
        assert!(case("vast.pem", Some(vast)).contains("larger than"));
    }
}
