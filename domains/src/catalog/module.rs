//! A module: stream `module-{key}`.
//!
//! It owns the module's name and its permission keys. It refuses to know who holds them.

use crate::authority::PermissionStanding;
use kisum_events::{Aggregate, ModuleEvent, ModuleKey, PermissionKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// Its key; absent while undefined.
    pub key: Option<ModuleKey>,
    /// Its display name.
    pub name: String,
    /// Its permissions.
    pub permissions: BTreeMap<PermissionKey, PermissionStanding>,
}

impl Aggregate for Module {
    type Event = ModuleEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &ModuleEvent, _version: u64) {
        match event {
            ModuleEvent::Defined { key, name } => {
                self.key = Some(key.clone());
                self.name.clone_from(name);
            }
            ModuleEvent::PermissionAdded { key } => {
                self.permissions.insert(key.clone(), PermissionStanding::Grantable);
            }
            ModuleEvent::PermissionRetired { key } => {
                self.permissions.insert(key.clone(), PermissionStanding::Retired);
            }
        }
    }
}

/// Why the catalog was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// No module by that key.
    #[error("the module is not defined")]
    NotDefined,
    /// It is defined already, and otherwise.
    #[error("the module is already defined with another name")]
    AlreadyDefined,
    /// A permission belongs to the module that its first word names.
    #[error("the permission '{permission}' belongs to another module")]
    OtherModule {
        /// Which.
        permission: PermissionKey,
    },
    /// The module has no such permission.
    #[error("there is no permission '{permission}'")]
    UnknownPermission {
        /// Which.
        permission: PermissionKey,
    },
}

/// Defines a module. Alike twice is once.
///
/// # Errors
/// [`ModuleError::AlreadyDefined`] when it is defined otherwise.
pub fn define(state: &Module, key: &ModuleKey, name: &str) -> Result<Vec<ModuleEvent>, ModuleError> {
    match &state.key {
        None => Ok(vec![ModuleEvent::Defined { key: key.clone(), name: name.to_owned() }]),
        Some(defined) if defined == key && state.name == name => Ok(vec![]),
        Some(_) => Err(ModuleError::AlreadyDefined),
    }
}

/// Adds a permission, or brings a retired one back. Twice is once.
///
/// # Errors
/// [`ModuleError`] when the module is not defined or the permission names another.
pub fn add_permission(state: &Module, permission: &PermissionKey) -> Result<Vec<ModuleEvent>, ModuleError> {
    belongs(state, permission)?;
    match state.permissions.get(permission) {
        Some(PermissionStanding::Grantable) => Ok(vec![]),
        None | Some(PermissionStanding::Retired) => Ok(vec![ModuleEvent::PermissionAdded { key: permission.clone() }]),
    }
}

/// Retires a permission: it is no longer granted, and who holds it keeps it. Twice is once.
///
/// # Errors
/// [`ModuleError`] when there is no such permission.
pub fn retire_permission(state: &Module, permission: &PermissionKey) -> Result<Vec<ModuleEvent>, ModuleError> {
    belongs(state, permission)?;
    match state.permissions.get(permission) {
        Some(PermissionStanding::Grantable) => Ok(vec![ModuleEvent::PermissionRetired { key: permission.clone() }]),
        Some(PermissionStanding::Retired) => Ok(vec![]),
        None => Err(ModuleError::UnknownPermission { permission: permission.clone() }),
    }
}

fn belongs(state: &Module, permission: &PermissionKey) -> Result<(), ModuleError> {
    match &state.key {
        None => Err(ModuleError::NotDefined),
        Some(key) if *key == permission.module() => Ok(()),
        Some(_) => Err(ModuleError::OtherModule { permission: permission.clone() }),
    }
}
