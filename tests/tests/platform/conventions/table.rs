//! Who may send each operation of each listener. A new operation is placed here, on purpose, by whoever adds it.

/// One listening socket of one service.
pub(super) struct Listener {
    /// The variable of `.kisum/env` that holds its address.
    pub(super) url: &'static str,
    /// Whether it is the internal one.
    pub(super) is_internal: bool,
    /// What `/ready` names, and whether the service is of no use without it.
    pub(super) dependencies: &'static [(&'static str, bool)],
    placed: &'static [(Sender, &'static [(&'static str, &'static str)])],
}

/// Who may send an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Anybody at all.
    Anybody,
    /// Anybody at all, or a person with an access token: which of them, the body says.
    Either,
    /// Who holds a refresh token, in the cookie or in the body.
    RefreshToken,
    /// A person, with an access token.
    Person,
    /// A service, with a token for this very request.
    Service,
}

impl Listener {
    /// What the service is called in service tokens.
    pub(super) fn callee(&self) -> String {
        self.url.trim_end_matches("_URL").trim_end_matches("_OPS").to_lowercase().replace('_', "-")
    }

    /// Sender, method and path of every operation.
    pub(super) fn operations(&self) -> impl Iterator<Item = (Sender, &'static str, &'static str)> {
        self.placed.iter().flat_map(|(sender, list)| list.iter().map(move |(method, path)| (*sender, *method, *path)))
    }
}

const PROBES: (Sender, &[(&str, &str)]) = (Sender::Anybody, &[("GET", "/health"), ("GET", "/ready")]);
const RELAYED: &[(Sender, &[(&str, &str)])] =
    &[PROBES, (Sender::Service, &[("GET", "/internal/v1/heads"), ("GET", "/internal/v1/log")])];

const AT_AUTH: &[(&str, bool)] =
    &[("db", true), ("log", true), ("nats", false), ("redis", false), ("signing_key", false), ("mail", false)];
const AT_CORE: &[(&str, bool)] = &[("db", true), ("log", true)];
const AT_A_RELAY: &[(&str, bool)] = &[("db", true), ("nats", true)];
const AT_A_BACKEND: &[(&str, bool)] = &[
    ("db", true),
    ("guard", true),
    ("guard.jwks", false),
    ("guard.auth", false),
    ("guard.nats", false),
    ("guard.auth_lease", false),
    ("guard.core_lease", false),
];

/// Every listener of the platform.
pub(super) const LISTENERS: [Listener; 9] = [
    Listener {
        url: "AUTH_URL",
        is_internal: false,
        dependencies: AT_AUTH,
        placed: &[
            PROBES,
            (
                Sender::Anybody,
                &[
                    ("POST", "/auth/login"),
                    ("POST", "/auth/register"),
                    ("POST", "/auth/email/verify"),
                    ("POST", "/auth/password/forgot"),
                    ("POST", "/auth/password/reset"),
                    ("POST", "/auth/login/second-factor"),
                    ("POST", "/auth/passkeys/login/options"),
                    ("POST", "/auth/passkeys/login/finish"),
                    ("GET", "/.well-known/jwks.json"),
                    ("GET", "/.well-known/openid-configuration"),
                ],
            ),
            // Whoever has no account has no token either.
            (Sender::Either, &[("POST", "/auth/invitations/accept")]),
            (Sender::RefreshToken, &[("POST", "/auth/refresh"), ("POST", "/auth/logout")]),
            (
                Sender::Person,
                &[
                    ("GET", "/auth/me"),
                    ("POST", "/auth/password/change"),
                    ("GET", "/auth/me/companies"),
                    ("GET", "/auth/me/access"),
                    ("GET", "/auth/sessions"),
                    ("DELETE", "/auth/sessions/{id}"),
                    ("POST", "/auth/logout-all"),
                    ("GET", "/auth/factors"),
                    ("POST", "/auth/factors"),
                    ("DELETE", "/auth/factors/{id}"),
                    ("POST", "/auth/factors/totp"),
                    ("POST", "/auth/recovery-codes"),
                    ("POST", "/auth/passkeys/register/options"),
                    ("POST", "/auth/passkeys/register/finish"),
                    ("POST", "/auth/step-up"),
                    ("POST", "/auth/step-up/options"),
                    ("GET", "/companies/{company}/audit"),
                    ("GET", "/companies/{company}/members"),
                    ("POST", "/companies"),
                    ("POST", "/companies/{company}/members"),
                    ("PATCH", "/companies/{company}/members/{member}"),
                    ("DELETE", "/companies/{company}/members/{member}"),
                    ("GET", "/companies/{company}/delegation-policy/{role}"),
                    ("PUT", "/companies/{company}/delegation-policy/{role}"),
                    ("PUT", "/companies/{company}/members/{member}/modules/{module}"),
                    ("DELETE", "/companies/{company}/members/{member}/modules/{module}"),
                    ("PUT", "/companies/{company}/members/{member}/permissions/{permission}"),
                    ("DELETE", "/companies/{company}/members/{member}/permissions/{permission}"),
                    ("PUT", "/companies/{company}/addons/{addon}"),
                    ("DELETE", "/companies/{company}/addons/{addon}"),
                    ("GET", "/companies/{company}/invitations"),
                    ("POST", "/companies/{company}/invitations"),
                    ("POST", "/companies/{company}/invitations/{invitation}/resend"),
                    ("DELETE", "/companies/{company}/invitations/{invitation}"),
                    ("GET", "/companies/{company}/delegations"),
                    ("POST", "/companies/{company}/delegations"),
                    ("DELETE", "/companies/{company}/delegations/{delegation}"),
                    ("GET", "/companies/{company}/roles"),
                    ("POST", "/companies/{company}/roles"),
                    ("PATCH", "/companies/{company}/roles/{roleId}"),
                    ("DELETE", "/companies/{company}/roles/{roleId}"),
                    ("PUT", "/companies/{company}/members/{member}/roles/{roleId}"),
                    ("DELETE", "/companies/{company}/members/{member}/roles/{roleId}"),
                ],
            ),
        ],
    },
    Listener {
        url: "AUTH_OPS_URL",
        is_internal: true,
        dependencies: AT_AUTH,
        placed: &[
            PROBES,
            (
                Sender::Service,
                &[
                    ("POST", "/internal/v1/access-context"),
                    ("GET", "/internal/v1/heads"),
                    ("GET", "/internal/v1/access/explain"),
                    ("GET", "/internal/v1/log/{log}"),
                    ("GET", "/internal/v1/revocations"),
                    ("POST", "/internal/v1/users"),
                    ("GET", "/internal/v1/users/by-email"),
                    ("POST", "/internal/v1/companies"),
                    ("GET", "/internal/v1/companies/by-slug/{slug}"),
                    ("POST", "/internal/v1/companies/{id}/approve"),
                    ("POST", "/internal/v1/companies/{id}/reject"),
                    ("POST", "/internal/v1/companies/{id}/suspend"),
                    ("GET", "/internal/v1/companies/{id}/delegation-policy/{role}"),
                    ("PUT", "/internal/v1/companies/{id}/delegation-policy/{role}"),
                    ("POST", "/internal/v1/companies/{id}/reactivate"),
                    ("POST", "/internal/v1/companies/{id}/members"),
                    ("PUT", "/internal/v1/companies/{id}/members/{membership}/modules/{module}"),
                    ("DELETE", "/internal/v1/companies/{id}/members/{membership}/modules/{module}"),
                    ("PUT", "/internal/v1/companies/{id}/members/{membership}/permissions/{permission}"),
                    ("DELETE", "/internal/v1/companies/{id}/members/{membership}/permissions/{permission}"),
                    ("POST", "/internal/v1/companies/{id}/invitations"),
                    ("POST", "/internal/v1/companies/{id}/invitations/{invitation}/resend"),
                    ("DELETE", "/internal/v1/companies/{id}/invitations/{invitation}"),
                    ("GET", "/internal/v1/companies/{id}/roles"),
                    ("POST", "/internal/v1/companies/{id}/roles"),
                    ("PATCH", "/internal/v1/companies/{id}/roles/{roleId}"),
                    ("DELETE", "/internal/v1/companies/{id}/roles/{roleId}"),
                    ("PUT", "/internal/v1/companies/{id}/members/{membership}/roles/{roleId}"),
                    ("DELETE", "/internal/v1/companies/{id}/members/{membership}/roles/{roleId}"),
                    ("DELETE", "/internal/v1/sessions/{id}"),
                    ("POST", "/internal/v1/users/{id}/suspend"),
                    ("POST", "/internal/v1/users/{id}/reactivate"),
                    ("GET", "/internal/v1/users/{id}/sessions"),
                    ("DELETE", "/internal/v1/users/{id}/sessions/{session}"),
                    ("GET", "/internal/v1/users/{id}/erasure"),
                    ("POST", "/internal/v1/users/{id}/erase"),
                    ("POST", "/internal/v1/staff-context"),
                    ("GET", "/internal/v1/staff/{id}"),
                    ("PUT", "/internal/v1/staff/{id}/roles/{role}"),
                    ("DELETE", "/internal/v1/staff/{id}/roles/{role}"),
                    ("POST", "/internal/v1/staff/bootstrap"),
                ],
            ),
        ],
    },
    Listener {
        url: "CORE_OPS_URL",
        is_internal: true,
        dependencies: AT_CORE,
        placed: &[
            PROBES,
            (
                Sender::Service,
                &[
                    ("GET", "/internal/v1/companies/{id}/entitlements"),
                    ("PUT", "/internal/v1/companies/{id}/subscription"),
                    ("DELETE", "/internal/v1/companies/{id}/subscription"),
                    ("PUT", "/internal/v1/companies/{id}/addons/{addon}"),
                    ("DELETE", "/internal/v1/companies/{id}/addons/{addon}"),
                    ("GET", "/internal/v1/modules"),
                    ("GET", "/internal/v1/packages"),
                    ("GET", "/internal/v1/addons"),
                ],
            ),
        ],
    },
    Listener { url: "RELAY_AUTH_OPS_URL", is_internal: true, dependencies: AT_A_RELAY, placed: RELAYED },
    Listener { url: "RELAY_CORE_OPS_URL", is_internal: true, dependencies: AT_A_RELAY, placed: RELAYED },
    Listener {
        url: "BASIC_URL",
        is_internal: false,
        dependencies: AT_A_BACKEND,
        placed: &[PROBES, (Sender::Person, &[("GET", "/api/events"), ("POST", "/api/events")])],
    },
    Listener { url: "BASIC_OPS_URL", is_internal: true, dependencies: AT_A_BACKEND, placed: &[PROBES] },
    Listener {
        url: "FINANCE_URL",
        is_internal: false,
        dependencies: AT_A_BACKEND,
        placed: &[PROBES, (Sender::Person, &[("GET", "/api/bills"), ("POST", "/api/bills")])],
    },
    Listener { url: "FINANCE_OPS_URL", is_internal: true, dependencies: AT_A_BACKEND, placed: &[PROBES] },
];
