//! Servers of HTTPS, and an authority that nobody knows unless it is told of it.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Answer, Request, Server};

/// An authority that signs certificates for servers.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One with a key of its own.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a certificate"))
    }

    /// What its clients have to trust, in PEM.
    pub fn pem(&self) -> Vec<u8> {
        self.0.pem().into()
    }

    /// Starts a server of HTTPS with a certificate for these names and addresses.
    ///
    /// # Panics
    ///
    /// If there is no port to be had, or a name is none.
    pub fn serve(
        &self,
        names: &[&str],
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let config = Arc::new(self.config(names));
        let open = move |stream: TcpStream| {
            let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            Ok(StreamOwned::new(connection, stream))
        };
        Server::start_on(open, handler)
    }

    fn config(&self, names: &[&str]) -> ServerConfig {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let parameters = CertificateParams::new(names).expect("names and addresses");
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key of our own");
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider can do all of them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
