//! Events of an invitation into a company: stream `invitation-{id}`, claim on company and HMAC of the address.
//!
//! What is sealed of one stands under a key of its own, as if the invitation were a person: nobody may have an account
//! with the address, and the address has to be forgotten when the invitation is over.

use crate::{
    CompanyId, MembershipId, ModuleKey, PermissionKey, Sealed, SecretId, TenantRole, Timestamp, event::events,
};
use serde::{Deserialize, Serialize};

/// What an invitation promises beside the membership, in order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitedGrants {
    /// Modules.
    pub modules: Vec<ModuleKey>,
    /// Permissions.
    pub permissions: Vec<PermissionKey>,
}

events! {
    /// What happens to an invitation.
    InvitationEvent, company: company_of {
        /// Somebody was invited. The token itself is derived when the mail is sent and stands nowhere.
        Sent = "invitation.sent" None ["email", "tokenHash"] {
            /// Into this company.
            company_id: CompanyId,
            /// With this role.
            tenant_role: TenantRole,
            /// What they are to be granted, as far as it can be when they accept.
            grants: InvitedGrants,
            /// By this member; absent where the platform did.
            #[serde(default, skip_serializing_if = "Option::is_none")] invited_by: Option<MembershipId>,
            /// Which secret the token carries.
            secret_id: SecretId,
            /// It is good until then.
            expires_at: Timestamp,
            /// The address as it was given.
            #[serde(default)] email: Sealed<String>,
            /// SHA-256 of the secret, lower-case hex.
            #[serde(default)] token_hash: Sealed<String>,
        },
        /// It was sent once more, and rests on whoever did that; the token before is good for nothing.
        Resent = "invitation.resent" None ["tokenHash"] {
            /// By this member; absent where the platform did.
            #[serde(default, skip_serializing_if = "Option::is_none")] invited_by: Option<MembershipId>,
            /// Which secret the token carries.
            secret_id: SecretId,
            /// It is good until then.
            expires_at: Timestamp,
            /// SHA-256 of the secret, lower-case hex.
            #[serde(default)] token_hash: Sealed<String>,
        },
        /// It was taken back. The address is forgotten.
        Withdrawn = "invitation.withdrawn" None,
        /// Whoever was invited is a member. The address is forgotten.
        Accepted = "invitation.accepted" None {
            /// By this membership.
            membership_id: MembershipId,
            /// What was promised and could not be granted any more.
            withheld: InvitedGrants,
        },
        /// Nobody accepted it in time. The address is forgotten.
        Expired = "invitation.expired" None,
    }
}

/// The company that the event itself names.
const fn company_of(event: &InvitationEvent) -> Option<CompanyId> {
    match event {
        InvitationEvent::Sent { company_id, .. } => Some(*company_id),
        InvitationEvent::Resent { .. }
        | InvitationEvent::Withdrawn
        | InvitationEvent::Accepted { .. }
        | InvitationEvent::Expired => None,
    }
}
