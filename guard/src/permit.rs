//! Permits: authorization as a value. No permit, no call.
//!
//! It owns the extractor and the way to declare permissions. It refuses to know any permission itself: each service
//! declares its own, and a test holds them against the catalog.

use crate::{access::Access, guard::Guard, problem::Problem};
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use kisum_events::{AccessContext, CompanyId, MembershipId, SessionId, UserId};
use std::{fmt, marker::PhantomData};

/// A permission that a route asks for; declare with [`permissions!`](crate::permissions).
pub trait Permission: Send + Sync + 'static {
    /// Its key, `<module>.<resource>.<action>`.
    const KEY: &'static str;
}

/// Declares permissions as types, and `PERMISSIONS` with all their keys in the same module.
///
/// ```
/// kisum_guard::permissions! {
///     /// Reads bills.
///     pub ReadBills = "finance.bills.read";
///     /// Writes bills.
///     pub CreateBills = "finance.bills.create";
/// }
/// assert_eq!(PERMISSIONS, ["finance.bills.read", "finance.bills.create"]);
/// ```
#[macro_export]
macro_rules! permissions {
    ($( $(#[$doc:meta])* $vis:vis $name:ident = $key:literal; )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            $vis struct $name;
            impl $crate::Permission for $name {
                const KEY: &'static str = $key;
            }
        )+
        /// Every permission that this module asks for.
        #[allow(unreachable_pub, reason = "how far it is seen is for the declaring module to say")]
        pub const PERMISSIONS: &[&str] = &[$($key),+];
    };
}

/// Proof that the request's person holds `P` in the request's company now. The company of whatever the handler does
/// comes from here, never again from the request.
pub struct Permit<P> {
    access: Access,
    permission: PhantomData<fn() -> P>,
}

impl<P> Permit<P> {
    /// The company.
    pub fn company_id(&self) -> CompanyId {
        self.access.company_id()
    }

    /// The person.
    pub fn user_id(&self) -> UserId {
        self.access.user_id()
    }

    /// The person's membership of the company.
    pub fn membership_id(&self) -> MembershipId {
        self.access.membership_id()
    }

    /// The session.
    pub fn session_id(&self) -> SessionId {
        self.access.session_id()
    }

    /// The whole context.
    pub fn context(&self) -> &AccessContext {
        self.access.context()
    }
}

impl<P> Clone for Permit<P> {
    fn clone(&self) -> Self {
        Self { access: self.access.clone(), permission: PhantomData }
    }
}

impl<P: Permission> fmt::Debug for Permit<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("permission", &P::KEY)
            .field("company", &self.company_id())
            .field("user", &self.user_id())
            .finish()
    }
}

impl<S, P> FromRequestParts<S> for Permit<P>
where
    S: Send + Sync,
    Guard: FromRef<S>,
    P: Permission,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let access = Guard::from_ref(state).permit(&parts.headers, P::KEY).await?;
        Ok(Self { access, permission: PhantomData })
    }
}
