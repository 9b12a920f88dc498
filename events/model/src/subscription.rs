//! Events of what a company bought: stream `subscription-{companyId}`, in the core log; and the entitlement
//! schedule that follows.

use crate::{AddonKey, CompanyId, EventId, ModuleKey, PackageKey, Position, Timestamp, event::events};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits by name, such as `seats` → 25; a limit that is absent does not limit.
pub type Limits = BTreeMap<String, i64>;

/// What kind of purchase gives a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The subscribed package.
    Package,
    /// An add-on beside it, or alone.
    Addon,
    /// A trial.
    Trial,
    /// A decision by staff.
    Override,
}

/// Which purchase gives a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntitlementSource {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: SourceKind,
    /// Its key, such as `finance`.
    pub id: String,
}

/// One module that a company owns within `[from, until)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleEntitlement {
    /// The module.
    pub module: ModuleKey,
    /// What gives it.
    pub source: EntitlementSource,
    /// Owned from here on.
    pub from: Timestamp,
    /// Owned up to, and not including, this instant; open when absent.
    pub until: Option<Timestamp>,
    /// What limits its use.
    #[serde(default)]
    pub limits: Limits,
}

impl ModuleEntitlement {
    /// Whether the module is owned at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }
}

/// The event that changed a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntitlementCause {
    /// Its id.
    pub event_id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
}

events! {
    /// What happens to a company's purchases.
    SubscriptionEvent, company: company_of, own_position: own_position_of {
        /// The company subscribed to a package.
        Started = "subscription.started" None {
            /// Which.
            package: PackageKey,
            /// In this version.
            version: u32,
            /// From.
            from: Timestamp,
            /// Until, where it ends.
            until: Option<Timestamp>,
        },
        /// The company moved to another package, or to another version of it.
        PlanChanged = "subscription.plan_changed" None {
            /// To this one.
            package: PackageKey,
            /// In this version.
            version: u32,
            /// From.
            from: Timestamp,
            /// Until, where it ends.
            until: Option<Timestamp>,
        },
        /// The subscription ends then.
        Cancelled = "subscription.cancelled" None {
            /// When.
            effective_at: Timestamp,
        },
        /// The company bought an add-on.
        AddonAttached = "addon.attached" None {
            /// Which.
            addon: AddonKey,
            /// In this version.
            version: u32,
            /// From.
            from: Timestamp,
            /// Until, where it ends.
            until: Option<Timestamp>,
        },
        /// The add-on ends then.
        AddonDetached = "addon.detached" None {
            /// Which.
            addon: AddonKey,
            /// When.
            effective_at: Timestamp,
        },
        /// The whole schedule as it is from now on, self-contained; counts as narrowing, since it may.
        EntitlementChanged = "entitlement.changed" Narrows {
            /// Whose.
            company_id: CompanyId,
            /// The whole schedule, future entries included.
            entitlements: Vec<ModuleEntitlement>,
            /// This event's own position; 0 until the append writes it.
            entitlement_version: Position,
            /// Position of the `entitlement.changed` before, 0 when this is the first: a subscriber of one company
            /// sees a hole by it.
            previous_entitlement_version: Position,
            /// What changed it.
            cause: EntitlementCause,
        },
    }
}

/// The company that the event itself names.
const fn company_of(event: &SubscriptionEvent) -> Option<CompanyId> {
    match event {
        SubscriptionEvent::EntitlementChanged { company_id, .. } => Some(*company_id),
        SubscriptionEvent::Started { .. }
        | SubscriptionEvent::PlanChanged { .. }
        | SubscriptionEvent::Cancelled { .. }
        | SubscriptionEvent::AddonAttached { .. }
        | SubscriptionEvent::AddonDetached { .. } => None,
    }
}

/// The field that holds the event's own position.
const fn own_position_of(event: &SubscriptionEvent) -> Option<&'static str> {
    match event {
        SubscriptionEvent::EntitlementChanged { .. } => Some("entitlementVersion"),
        SubscriptionEvent::Started { .. }
        | SubscriptionEvent::PlanChanged { .. }
        | SubscriptionEvent::Cancelled { .. }
        | SubscriptionEvent::AddonAttached { .. }
        | SubscriptionEvent::AddonDetached { .. } => None,
    }
}
