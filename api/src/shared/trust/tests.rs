//! The trust file while the process runs. Time is paused: a pause between two looks takes no time.

use super::*;
use crate::shared::ambient::Clock;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kisum_guard::ServiceSigner;

/// Looks at the file before a test gives up.
const LOOKS_MAX: u32 = 1_000;

struct Setup {
    path: PathBuf,
    signer: ServiceSigner,
    clock: Clock,
}

impl Setup {
    fn new(name: &str) -> Self {
        let key = Ed25519KeyPair::generate().unwrap_or_else(|e| panic!("{e}"));
        let der = key.to_pkcs8().unwrap_or_else(|e| panic!("{e}"));
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        let signer = ServiceSigner::new("local", "admin", &pem).unwrap_or_else(|e| panic!("{e}"));
        let path = std::env::temp_dir().join(format!("kisum-trust-{name}-{}", std::process::id()));
        Self { path, signer, clock: Clock::system() }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap_or_else(|e| panic!("{e}"));
    }

    fn trusting(&self) -> String {
        let x = self.signer.public_key();
        format!(r#"{{"services":{{"admin":{{"keys":[{{"kid":"admin-1","x":"{x}"}}],"routes":["GET /a"]}}}}}}"#)
    }

    async fn watch(&self) -> Result<ServiceTrust, TrustFileError> {
        let environment = "local".parse().unwrap_or_else(|()| panic!("a name"));
        watch_trust(&environment, "core", &self.path).await
    }

    fn is_trusted(&self, trust: &ServiceTrust) -> bool {
        let now = self.clock.now();
        trust.verify(&self.signer.token("core", "GET", "/a", now), "GET", "/a", now).is_ok()
    }

    async fn until(&self, trust: &ServiceTrust, trusted: bool) {
        for _ in 0..LOOKS_MAX {
            if self.is_trusted(trust) == trusted {
                return;
            }
            tokio::time::sleep(RELOAD_EVERY).await;
        }
        panic!("the file was never read again");
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_in_force_without_a_restart_and_an_unusable_one_changes_nothing() {
    let setup = Setup::new("reload");
    setup.write(r#"{"services":{}}"#);
    let trust = setup.watch().await.unwrap_or_else(|e| panic!("{e}"));
    assert!(!setup.is_trusted(&trust));

    setup.write(&setup.trusting());
    setup.until(&trust, true).await;
    setup.write("nonsense");
    for _ in 0..10 {
        tokio::time::sleep(RELOAD_EVERY).await;
        assert!(setup.is_trusted(&trust), "an unusable file took the rules away");
    }
    setup.write(r#"{"services":{}}"#);
    setup.until(&trust, false).await;
}

#[tokio::test]
async fn a_file_that_is_unusable_from_the_start_is_an_error_that_names_it() {
    let setup = Setup::new("unusable");
    setup.write("nonsense");
    let Err(error) = setup.watch().await else { panic!("nonsense was trusted") };
    assert!(error.to_string().contains("kisum-trust-unusable"), "{error}");
    std::fs::remove_file(&setup.path).unwrap_or_else(|e| panic!("{e}"));
    assert!(matches!(setup.watch().await, Err(TrustFileError::Read { .. })));
}
