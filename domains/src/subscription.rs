//! What a company bought: stream `subscription-{companyId}`.
//!
//! It owns the plan, the add-ons, and the entitlement schedule that follows from them. It refuses to know the catalog:
//! an offer brings the contents of what is bought, and the schedule keeps them, so the stream folds without any other.
//!
//! Every append closes with `entitlement.changed` when the schedule differs.

use crate::schedule::{self, Purchase};
use kisum_events::{
    AddonKey, Aggregate, CompanyId, EntitlementCause, EntitlementSource, Event, EventId, Limits, ModuleEntitlement,
    ModuleKey, PackageKey, Position, SourceKind, StreamName, SubscriptionEvent, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From when until when something is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// From here on.
    pub from: Timestamp,
    /// Up to, and not including, this instant; open when absent.
    pub until: Option<Timestamp>,
}

impl Term {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether buying the same for `wanted` changes nothing: it ends alike and has begun by then.
    fn covers(&self, wanted: &Self) -> bool {
        self.until == wanted.until && self.from <= wanted.from
    }

    fn is_empty(&self) -> bool {
        self.until.is_some_and(|until| until <= self.from)
    }

    fn end_by(&mut self, at: Timestamp) {
        self.until = Some(self.until.map_or(at, |until| until.min(at)));
    }
}

/// The package that a company is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Which.
    pub package: PackageKey,
    /// In this version.
    pub version: u32,
    /// For so long.
    pub term: Term,
}

/// An add-on that a company bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedAddon {
    /// In this version.
    pub version: u32,
    /// For so long.
    pub term: Term,
}

/// The state of a company's purchases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The plan decided last; it may begin later, or be over.
    pub plan: Option<Plan>,
    /// Add-ons by key; they may begin later, or be over.
    pub addons: BTreeMap<AddonKey, AttachedAddon>,
    /// The schedule as of the last `entitlement.changed`.
    pub entitlements: Vec<ModuleEntitlement>,
    /// Version of the last `entitlement.changed` in this stream, 0 when there is none. The position of that event is
    /// the contract's `entitlementVersion`.
    pub entitlement_stream_version: u64,
}

impl Aggregate for Subscription {
    type Event = SubscriptionEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &SubscriptionEvent, version: u64) {
        match event {
            SubscriptionEvent::Started { package, version, from, until }
            | SubscriptionEvent::PlanChanged { package, version, from, until } => {
                let term = Term { from: *from, until: *until };
                self.plan = Some(Plan { package: package.clone(), version: *version, term });
            }
            SubscriptionEvent::Cancelled { effective_at } => {
                if let Some(plan) = &mut self.plan {
                    plan.term.end_by(*effective_at);
                }
            }
            SubscriptionEvent::AddonAttached { addon, version, from, until } => {
                let term = Term { from: *from, until: *until };
                self.addons.insert(addon.clone(), AttachedAddon { version: *version, term });
            }
            SubscriptionEvent::AddonDetached { addon, effective_at } => {
                if let Some(attached) = self.addons.get_mut(addon) {
                    attached.term.end_by(*effective_at);
                }
            }
            SubscriptionEvent::EntitlementChanged { entitlements, .. } => {
                self.entitlements.clone_from(entitlements);
                self.entitlement_stream_version = version;
            }
        }
    }

    fn company(&self, stream: &StreamName) -> Option<CompanyId> {
        stream.id().parse().ok()
    }
}

/// A version of a package, with what it contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageOffer {
    /// Which package.
    pub package: PackageKey,
    /// Which version.
    pub version: u32,
    /// What it contains.
    pub modules: Vec<ModuleKey>,
    /// Its limits.
    pub limits: Limits,
}

/// A version of an add-on, with what it contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddonOffer {
    /// Which add-on.
    pub addon: AddonKey,
    /// Which version.
    pub version: u32,
    /// What it contains.
    pub modules: Vec<ModuleKey>,
    /// Its limits.
    pub limits: Limits,
}

/// What a decision about purchases is told from outside: time, ids and positions are never drawn here.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Whose purchases.
    pub company_id: CompanyId,
    /// Position of the company's last `entitlement.changed`, 0 when there is none.
    pub previous_entitlement_version: Position,
    /// Ids for the event of the command and for `entitlement.changed`.
    pub ids: [EventId; 2],
    /// The instant of the decision.
    pub now: Timestamp,
}

/// Events with their ids, since `entitlement.changed` names its cause by id.
pub type IdentifiedEvents = Vec<(EventId, SubscriptionEvent)>;

/// Why something was not bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuyError {
    /// It would end before it begins.
    #[error("the end does not lie behind the start")]
    EndBeforeStart,
}

/// Why something was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndPurchaseError {
    /// It was not bought, or is over already.
    #[error("there is nothing to end")]
    NotBought,
}

/// Subscribes the company to a package from `term.from` on; the plan so far ends there. What runs already is bought
/// without an event.
///
/// # Errors
/// [`BuyError`] for a term that ends before it begins.
pub fn set_plan(
    state: &Subscription,
    offer: &PackageOffer,
    term: Term,
    change: Change,
) -> Result<IdentifiedEvents, BuyError> {
    if term.is_empty() {
        return Err(BuyError::EndBeforeStart);
    }
    let current = state.plan.as_ref().filter(|plan| !plan.term.is_over(change.now));
    if current
        .is_some_and(|plan| plan.package == offer.package && plan.version == offer.version && plan.term.covers(&term))
    {
        return Ok(vec![]);
    }
    let (package, version, from, until) = (offer.package.clone(), offer.version, term.from, term.until);
    let event = if current.is_some() {
        SubscriptionEvent::PlanChanged { package, version, from, until }
    } else {
        SubscriptionEvent::Started { package, version, from, until }
    };
    let source = EntitlementSource { kind: SourceKind::Package, id: offer.package.to_string() };
    let purchase = Purchase { source: &source, modules: &offer.modules, limits: &offer.limits, from, until };
    let mut wanted = schedule::close(&state.entitlements, from, |source| source.kind == SourceKind::Package);
    wanted.extend(purchase.entries());
    Ok(with_schedule(state, event, wanted, change))
}

/// Ends the subscription at `effective_at`, or now if that is past. What ends by then already is ended without an
/// event.
///
/// # Errors
/// [`EndPurchaseError`] when no subscription runs or is to begin.
pub fn cancel(
    state: &Subscription,
    effective_at: Timestamp,
    change: Change,
) -> Result<IdentifiedEvents, EndPurchaseError> {
    let plan = state.plan.as_ref().filter(|plan| !plan.term.is_over(change.now));
    let term = plan.ok_or(EndPurchaseError::NotBought)?.term;
    let at = effective_at.max(change.now);
    if term.is_over(at) {
        return Ok(vec![]);
    }
    let wanted = schedule::close(&state.entitlements, at, |source| source.kind == SourceKind::Package);
    Ok(with_schedule(state, SubscriptionEvent::Cancelled { effective_at: at }, wanted, change))
}

/// Buys an add-on from `term.from` on, beside a plan or alone; the same add-on so far ends there. What runs already is
/// bought without an event.
///
/// # Errors
/// [`BuyError`] for a term that ends before it begins.
pub fn attach_addon(
    state: &Subscription,
    offer: &AddonOffer,
    term: Term,
    change: Change,
) -> Result<IdentifiedEvents, BuyError> {
    if term.is_empty() {
        return Err(BuyError::EndBeforeStart);
    }
    let current = state.addons.get(&offer.addon).filter(|attached| !attached.term.is_over(change.now));
    if current.is_some_and(|attached| attached.version == offer.version && attached.term.covers(&term)) {
        return Ok(vec![]);
    }
    let (from, until) = (term.from, term.until);
    let event = SubscriptionEvent::AddonAttached { addon: offer.addon.clone(), version: offer.version, from, until };
    let source = addon_source(&offer.addon);
    let purchase = Purchase { source: &source, modules: &offer.modules, limits: &offer.limits, from, until };
    let mut wanted = schedule::close(&state.entitlements, from, |candidate| *candidate == source);
    wanted.extend(purchase.entries());
    Ok(with_schedule(state, event, wanted, change))
}

/// Ends an add-on at `effective_at`, or now if that is past. What ends by then already is ended without an event.
///
/// # Errors
/// [`EndPurchaseError`] when the add-on neither runs nor is to begin.
pub fn detach_addon(
    state: &Subscription,
    addon: &AddonKey,
    effective_at: Timestamp,
    change: Change,
) -> Result<IdentifiedEvents, EndPurchaseError> {
    let attached = state.addons.get(addon).filter(|attached| !attached.term.is_over(change.now));
    let term = attached.ok_or(EndPurchaseError::NotBought)?.term;
    let at = effective_at.max(change.now);
    if term.is_over(at) {
        return Ok(vec![]);
    }
    let source = addon_source(addon);
    let wanted = schedule::close(&state.entitlements, at, |candidate| *candidate == source);
    let event = SubscriptionEvent::AddonDetached { addon: addon.clone(), effective_at: at };
    Ok(with_schedule(state, event, wanted, change))
}

fn addon_source(addon: &AddonKey) -> EntitlementSource {
    EntitlementSource { kind: SourceKind::Addon, id: addon.to_string() }
}

/// The command's event, and `entitlement.changed` behind it when the schedule means something else from now on.
fn with_schedule(
    state: &Subscription,
    event: SubscriptionEvent,
    wanted: Vec<ModuleEntitlement>,
    change: Change,
) -> IdentifiedEvents {
    let [event_id, entitlement_id] = change.ids;
    let cause = EntitlementCause { event_id, event_type: event.event_type().to_owned() };
    let mut events = vec![(event_id, event)];
    let entitlements = schedule::normal(wanted, change.now);
    if entitlements != schedule::normal(state.entitlements.clone(), change.now) {
        let changed = SubscriptionEvent::EntitlementChanged {
            company_id: change.company_id,
            entitlements,
            entitlement_version: 0,
            previous_entitlement_version: change.previous_entitlement_version,
            cause,
        };
        events.push((entitlement_id, changed));
    }
    events
}
