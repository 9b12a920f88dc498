//! What can be asked. Numbers name whom and what: the places in the model's lists, so that whoever applies a command
//! elsewhere keeps lists of their own in the same order.

/// A key of the catalog.
pub(crate) type Key = &'static str;
/// Milliseconds since the beginning of the story.
pub(crate) type Instant = i64;

pub(crate) const DAY: Instant = 24 * 60 * 60 * 1_000;

/// The tenant roles, from the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    User,
    Manager,
    Admin,
    Superadmin,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// The platform's administration, which needs no membership.
    Platform,
    Person(usize),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// By a person for themselves; by the platform for `owner`.
    Register {
        owner: usize,
        slug: String,
    },
    /// What is asked about a company.
    Company {
        company: usize,
        wish: Wish,
    },
    SuspendPerson {
        person: usize,
    },
    ReactivatePerson {
        person: usize,
    },
    /// The company buys a module for a term; without an end, for good. What was bought before stays.
    Buy {
        company: usize,
        module: Key,
        from: Instant,
        until: Option<Instant>,
    },
    /// The company has no term of the module any more.
    Lose {
        company: usize,
        module: Key,
    },
    /// The company may have so many members; without a number as many as it likes.
    Seats {
        company: usize,
        limit: Option<usize>,
    },
    /// The permission is retired from the catalog.
    Retire {
        permission: Key,
    },
    /// Time goes by.
    Pass {
        millis: Instant,
    },
}

/// What is asked about one company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Approve,
    Reject,
    Suspend,
    Reactivate,
    AddMember { person: usize, rank: Rank },
    ChangeMember { member: usize, rank: Option<Rank>, suspended: Option<bool> },
    EndMember { member: usize },
    GrantModule { member: usize, module: Key },
    RevokeModule { member: usize, module: Key },
    GrantPermission { member: usize, permission: Key },
    RevokePermission { member: usize, permission: Key },
    CreateRole { name: String, permissions: Vec<Key> },
    ChangeRole { role: usize, name: Option<String>, permissions: Option<Vec<Key>> },
    DeleteRole { role: usize },
    AssignRole { member: usize, role: usize },
    UnassignRole { member: usize, role: usize },
    SetPolicy { rank: Rank, modules: Vec<Key>, permissions: Vec<Key> },
    Delegate { to: usize, permissions: Vec<Key>, from: Option<Instant>, until: Instant },
    EndDelegation { delegation: usize },
}
