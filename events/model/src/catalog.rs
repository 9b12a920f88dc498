//! Events of the catalog: streams `module-{key}`, `package-{key}`, `addon-{key}`, all in the core log.

use crate::{Limits, ModuleKey, PermissionKey, event::events};

events! {
    /// What happens to a module.
    ModuleEvent {
        /// The module can be sold.
        Defined = "module.defined" None {
            /// Its key.
            key: ModuleKey,
            /// Its display name.
            name: String,
        },
        /// A permission exists and may be granted.
        PermissionAdded = "module.permission_added" None {
            /// Which.
            key: PermissionKey,
        },
        /// A permission may no longer be granted; who holds it keeps it.
        PermissionRetired = "module.permission_retired" None {
            /// Which.
            key: PermissionKey,
        },
    }
}

events! {
    /// What happens to a package.
    PackageEvent {
        /// A version went on sale; published versions never change.
        VersionPublished = "package.version_published" None {
            /// The version, from 1.
            version: u32,
            /// What it contains.
            modules: Vec<ModuleKey>,
            /// Its limits, such as `seats`.
            #[serde(default)] limits: Limits,
        },
        /// A version is no longer on sale; who has it keeps it.
        VersionRetired = "package.version_retired" None {
            /// Which.
            version: u32,
        },
    }
}

events! {
    /// What happens to an add-on, on its own stream.
    AddonEvent {
        /// A version went on sale; published versions never change.
        VersionPublished = "addon.version_published" None {
            /// The version, from 1.
            version: u32,
            /// What it contains.
            modules: Vec<ModuleKey>,
            /// Its limits.
            #[serde(default)] limits: Limits,
        },
        /// A version is no longer on sale; who has it keeps it.
        VersionRetired = "addon.version_retired" None {
            /// Which.
            version: u32,
        },
    }
}
