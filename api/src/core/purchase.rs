//! One command on a company's purchases, from the loaded stream to the receipt.
//!
//! It owns what every such command does alike: the version it decides on, the append, the log line and the metrics.
//! It refuses to decide: the decision is given.

use super::{Core, entitlements};
use crate::shared::{
    access_position::AccessPosition,
    actor::ActorToken,
    ambient,
    caller::Caller,
    idempotency::{CommandScope, Idempotency},
    observe,
    problem::{self, Problem},
    request_label::RequestLabel,
};
use axum::extract::FromRequestParts;
use http::request::Parts;
use kisum_domains::{
    Subscription,
    subscription::{BuyError, Change, EndPurchaseError, IdentifiedEvents},
};
use kisum_events::{Actor, CompanyId, Cursor, Event as _, Log, StreamName, SubscriptionEvent};
use kisum_log::{Append, Loaded};

/// Who sends a command, and under which label.
pub(super) struct Sender {
    pub(super) actor: Actor,
    pub(super) label: RequestLabel,
}

impl FromRequestParts<Core> for Sender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, core).await?;
        let token = ActorToken::from_request_parts(parts, core).await?;
        let Ok(label) = RequestLabel::from_request_parts(parts, core).await;
        Ok(Self { actor: core.actors.of(&caller, &token).await?, label })
    }
}

/// A command on one company's purchases.
pub(super) struct Purchase<'a> {
    pub(super) core: &'a Core,
    pub(super) company: CompanyId,
    /// The command's name with whatever it names beside its body.
    pub(super) command: &'a str,
    pub(super) sender: &'a Sender,
    pub(super) idempotency: &'a Idempotency,
}

impl Purchase<'_> {
    fn scope(&self) -> CommandScope<'_> {
        CommandScope {
            log: Log::Core,
            actor: &self.sender.actor,
            company: Some(self.company),
            command: self.command,
            correlation: self.sender.label.as_str(),
        }
    }

    /// Where the same command was carried out before.
    pub(super) async fn earlier(&self) -> Result<Option<AccessPosition>, Problem> {
        self.idempotency.earlier(&self.core.log, self.scope()).await
    }

    /// Decides on the purchases as they are and appends what follows. `depend` names streams that the decision rests
    /// on without writing them.
    pub(super) async fn execute(
        &self,
        depend: impl FnOnce(&mut Append),
        decide: impl FnOnce(&Subscription, Change) -> Result<IdentifiedEvents, Problem>,
    ) -> Result<AccessPosition, Problem> {
        observe::note_company(self.company);
        let log = &self.core.log;
        let stream = StreamName::subscription(self.company);
        let loaded: Loaded<Subscription> = log.load(&stream).await.map_err(problem::of_load)?;
        let change = Change {
            company_id: self.company,
            previous_entitlement_version: entitlements::version_of(self.core, &loaded).await?,
            ids: [ambient::new_event_id(), ambient::new_event_id()],
            now: self.core.clock.now(),
        };
        let events = decide(&loaded.state, change)?;
        if events.is_empty() {
            return self.unchanged(&loaded).await;
        }
        let mut append = self.idempotency.append(self.scope());
        depend(&mut append);
        let written: Vec<SubscriptionEvent> = events.iter().map(|(_, event)| event.clone()).collect();
        append.write_with_ids(&loaded, events).map_err(problem::of_append)?;
        let receipt = log.append(append).await.map_err(problem::of_append)?;
        if !receipt.duplicate {
            self.note(&written);
        }
        Ok(AccessPosition::from(&receipt))
    }

    /// What was asked for is so already: the position from which it can be read.
    async fn unchanged(&self, loaded: &Loaded<Subscription>) -> Result<AccessPosition, Problem> {
        let epoch = self.core.log.head().await.map_err(problem::of_load)?.epoch;
        Ok(AccessPosition { log: Log::Core, cursor: Cursor { epoch, position: loaded.position } })
    }

    fn note(&self, events: &[SubscriptionEvent]) {
        let (company_id, actor) = (self.company, &self.sender.actor);
        for event in events {
            let event_type = event.event_type();
            let change = match event {
                SubscriptionEvent::Started { .. }
                | SubscriptionEvent::PlanChanged { .. }
                | SubscriptionEvent::Cancelled { .. } => "subscription.changed",
                SubscriptionEvent::AddonAttached { .. } | SubscriptionEvent::AddonDetached { .. } => "addon.changed",
                SubscriptionEvent::EntitlementChanged { .. } => "entitlement.bumped",
            };
            if change == "entitlement.bumped" {
                metrics::counter!("kisum_entitlement_bumps_total").increment(1);
            } else {
                metrics::counter!("kisum_subscription_changes_total", "type" => event_type).increment(1);
            }
            tracing::info!(event = change, r#type = event_type, %company_id, %actor, "a company's purchases changed");
        }
    }
}

/// What a refused purchase means to the client.
pub(super) fn refused_purchase(error: BuyError) -> Problem {
    match error {
        BuyError::EndBeforeStart => Problem::unprocessable("The end does not lie behind the start."),
    }
}

/// What a refused ending means to the client.
pub(super) fn refused_ending(error: EndPurchaseError) -> Problem {
    match error {
        EndPurchaseError::NotBought => Problem::not_found("The company has not bought this, or it is over already."),
    }
}
