//! `.kisum/env`: the addresses and credentials of a running stack, for `source`.

use super::{Failure, Part, databases::Database, layout, services::Addresses, stack::Ground};
use std::collections::BTreeMap;

/// The variables of the contract, for what this release has: no service, no variable.
///
/// # Errors
/// When a secret is missing and cannot be made.
pub fn variables(ground: &Ground<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let at = Addresses::on(ground);
    let mut variables = BTreeMap::new();
    let mut set = |name: String, value: String| {
        variables.insert(name, value);
    };
    for part in Part::SERVICES {
        let name = part.name().replace('-', "_").to_uppercase();
        if part.port().is_some() {
            set(format!("{name}_URL"), at.public(part));
        }
        set(format!("{name}_OPS_URL"), at.ops(part));
    }
    for part in [Part::Auth, Part::Core] {
        set(format!("{}_INTERNAL_URL", part.name().to_uppercase()), at.ops(part));
    }
    for database in Database::ALL {
        set(database.url_variable().to_owned(), at.database(database, database.runtime_role())?);
        set(database.owner_url_variable().to_owned(), at.database(database, database.owner())?);
    }
    set("NATS_URL".to_owned(), at.nats_bare());
    set("NATS_ADMIN_URL".to_owned(), at.nats("admin")?);
    set("REDIS_URL".to_owned(), at.redis("admin")?);
    set("DEMO_PASSWORD".to_owned(), ground.secrets.demo_password()?);
    // For `kisum keys`.
    set("JWT_KEYRING_FILE".to_owned(), ground.secrets.jwt_keyring_file()?.display().to_string());
    set("DATA_ENCRYPTION_KEYS".to_owned(), ground.secrets.data_keys()?);
    set("DEMO_ADMIN_EMAIL".to_owned(), crate::demo::ADMIN_EMAIL.to_owned());
    set("DEMO_ADMIN_TOTP_SECRET".to_owned(), ground.secrets.demo_totp_secret()?);
    // What `kisum seed` and `kisum smoke` sign their service tokens with.
    let admin = ground.secrets.service_key_path(super::secrets::ADMIN);
    set("ADMIN_PRIVATE_KEY".to_owned(), format!("file:{}", admin.display()));
    set("ENVIRONMENT".to_owned(), super::services::ENVIRONMENT.to_owned());
    set("KISUM_DIR".to_owned(), ground.layout.root().display().to_string());
    Ok(variables)
}

/// Writes the file, readable by its owner only: it holds credentials.
///
/// # Errors
/// When it cannot be written.
pub fn write(ground: &Ground<'_>) -> Result<(), Failure> {
    let mut text = String::new();
    for (name, value) in variables(ground)? {
        text.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    let path = ground.layout.env();
    layout::write_private(&path, text.as_bytes())
        .map_err(|error| Failure::io(format!("writing {}", path.display()), &error))
}

/// Quotes a value for a shell, only where it must be, so that simpler readers understand the file as well.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,+=".contains(&byte);
    if value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}
