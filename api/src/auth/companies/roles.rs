//! A company's named roles: making, changing and deleting them, whoever sends the command.
//!
//! It owns what the append rests on, and the claim on the name. Rules stand in `kisum_domains::role`; who is assigned a
//! role is `grants`' business, and nothing is written about its members when it changes.

use super::{By, Sent, grounds::Grounds, refusals, stream_at};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        ambient,
        problem::{self, Problem},
    },
};
use kisum_domains::{
    Authority, Role,
    role::{self, ChangeRole, CreateRole, PERMISSIONS_MAX, RoleName},
};
use kisum_events::{CompanyId, PermissionKey, RoleEvent, RoleId, StreamName};
use kisum_log::{Append, ClaimKey, Loaded};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use uuid::Uuid;

/// A named role to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct NewRoleBody {
    /// What it is called, 1 to 80 characters; no other role of the company is called so, in whatever case.
    name: String,
    /// Keys of the permissions that it gives.
    #[schema(max_items = 150)]
    permissions: Vec<String>,
}

/// What is to become of a named role; what is absent stays. Something has to be said.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct ChangeRoleBody {
    /// What it is called.
    name: Option<String>,
    /// Keys of all the permissions that it gives.
    #[schema(max_items = 150)]
    permissions: Option<Vec<String>>,
}

impl ChangeRoleBody {
    /// # Errors
    /// 400 when nothing is said.
    fn check(&self) -> Result<(), Problem> {
        if self.name.is_none() && self.permissions.is_none() {
            return Err(Problem::validation("Neither name nor permissions is there: nothing would change."));
        }
        Ok(())
    }

    fn read(&self) -> Result<ChangeRole, Problem> {
        let name = self.name.as_deref().map(role_name).transpose()?;
        Ok(ChangeRole { name, permissions: self.permissions.as_deref().map(permissions).transpose()? })
    }
}

fn role_name(text: &str) -> Result<RoleName, Problem> {
    text.parse().map_err(|error| Problem::validation(format!("The field name is no name: {error}.")))
}

fn permissions(keys: &[String]) -> Result<BTreeSet<PermissionKey>, Problem> {
    if keys.len() > PERMISSIONS_MAX {
        return Err(refusals::of_role(role::RoleError::TooManyPermissions));
    }
    keys.iter().map(|key| super::permission(key)).collect()
}

/// A named role.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct RoleView {
    /// Its id.
    role_id: Uuid,
    /// What it is called.
    name: String,
    /// Keys of the permissions that it gives, in order; of use are those of modules that the company owns and the member
    /// is granted.
    permissions: Vec<String>,
}

impl RoleView {
    pub(super) fn new(id: RoleId, state: &Role) -> Self {
        let permissions = state.permissions.keys().map(ToString::to_string).collect();
        Self { role_id: id.uuid(), name: state.name.clone(), permissions }
    }
}

/// The command's name, for its idempotency key.
const CREATE: &str = "role.create";

/// Makes a role.
///
/// # Errors
/// 409 `name_taken`; otherwise the contract's problem for whatever rule refuses it.
pub(in crate::auth) async fn create_role(
    auth: &Auth,
    by: &By,
    company: CompanyId,
    wanted: &NewRoleBody,
    sent: &Sent,
) -> Result<(RoleView, AccessPosition), Problem> {
    let (actor, name) = (by.actor(), role_name(&wanted.name)?);
    let permissions = permissions(&wanted.permissions)?;
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        if let Some(position) = sent.earlier(auth, &actor, Some(company), CREATE).await? {
            return Ok((made_at(auth, position).await?, position));
        }
        let id = RoleId::new(ambient::new_id());
        let role = Loaded::<Role>::new_stream(StreamName::role(id));
        let command = CreateRole { company_id: company, name: name.clone(), permissions: permissions.clone() };
        let events = role::create(&role.state, &grounds.authority(), command).map_err(refusals::of_role)?;
        let mut append = sent.append(&actor, Some(company), CREATE);
        append.claim(ClaimKey::role(company, &name.claimed()), &role.stream);
        let state = append.write(&role, events).map_err(problem::of_append)?;
        rest_on(&grounds, &mut append, &role.stream);
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => {
                let position = (&receipt).into();
                return Ok((made_at(auth, position).await?, position));
            }
            Outcome::Done(receipt) => return Ok((RoleView::new(id, &state), (&receipt).into())),
            Outcome::Taken => return Err(refusals::role_name_taken()),
            Outcome::Again => {}
        }
    }
    Err(race::lost())
}

/// Changes a role, for everybody to whom it is assigned.
///
/// # Errors
/// 404 for a role of another company too; 409 `name_taken`; otherwise the contract's problem for whatever rule refuses it.
pub(in crate::auth) async fn change_role(
    auth: &Auth,
    by: &By,
    role: (CompanyId, RoleId),
    wanted: &ChangeRoleBody,
    sent: &Sent,
) -> Result<(RoleView, AccessPosition), Problem> {
    wanted.check()?;
    let command = format!("{}|role.change", role.1);
    // Read once it is known that there is such a role: who asks for another company's hears of nothing else.
    let decide = |state: &Role, authority: &Authority<'_>| {
        role::change(state, authority, wanted.read()?).map_err(refusals::of_role)
    };
    let (state, position) = alter_role(auth, by, role, (&command, sent), decide).await?;
    Ok((RoleView::new(role.1, &state), position))
}

/// Deletes a role: it gives nothing from then on.
///
/// # Errors
/// As [`change_role`].
pub(in crate::auth) async fn delete_role(
    auth: &Auth,
    by: &By,
    role: (CompanyId, RoleId),
    sent: &Sent,
) -> Result<AccessPosition, Problem> {
    let command = format!("{}|role.delete", role.1);
    let decide = |state: &Role, authority: &Authority<'_>| role::delete(state, authority).map_err(refusals::of_role);
    alter_role(auth, by, role, (&command, sent), decide).await.map(|(_, position)| position)
}

async fn alter_role(
    auth: &Auth,
    by: &By,
    (company, id): (CompanyId, RoleId),
    (command, sent): (&str, &Sent),
    decide: impl Fn(&Role, &Authority<'_>) -> Result<Vec<RoleEvent>, Problem>,
) -> Result<(Role, AccessPosition), Problem> {
    let (actor, stream) = (by.actor(), StreamName::role(id));
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        let role: Loaded<Role> = auth.log.load(&stream).await.map_err(problem::of_load)?;
        if role.state.company_id != Some(company) {
            return Err(refusals::no_such_role());
        }
        if let Some(position) = sent.earlier(auth, &actor, Some(company), command).await? {
            return Ok((role.state, position));
        }
        let events = decide(&role.state, &grounds.authority())?;
        if events.is_empty() {
            let position = grounds.unchanged(role.position);
            return Ok((role.state, position));
        }
        let mut append = sent.append(&actor, Some(company), command);
        let state = append.write(&role, events).map_err(problem::of_append)?;
        move_name(&mut append, company, &role, &state);
        rest_on(&grounds, &mut append, &role.stream);
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => {
                let role: Loaded<Role> = auth.log.load(&stream).await.map_err(problem::of_load)?;
                return Ok((role.state, (&receipt).into()));
            }
            Outcome::Done(receipt) => return Ok((state, (&receipt).into())),
            Outcome::Taken => return Err(refusals::role_name_taken()),
            Outcome::Again => {}
        }
    }
    Err(race::lost())
}

/// Gives back the name that a role had, and takes the one that it has now.
fn move_name(append: &mut Append, company: CompanyId, before: &Loaded<Role>, after: &Role) {
    let (had, has) = (before.state.claimed_name(), after.claimed_name());
    if had == has {
        return;
    }
    if let Some(name) = had {
        append.release(ClaimKey::role(company, &name), &before.stream);
    }
    if let Some(name) = has {
        append.claim(ClaimKey::role(company, &name), &before.stream);
    }
}

/// Makes an append depend on the acting member, who has to lead the company, and on the company.
fn rest_on(grounds: &Grounds, append: &mut Append, written: &StreamName) {
    grounds.guard_acting(append, written);
    append.guard(&grounds.company);
}

/// The role that an earlier sending of the same command made there: its append has one event.
async fn made_at(auth: &Auth, position: AccessPosition) -> Result<RoleView, Problem> {
    let stream = stream_at(auth, position).await?.ok_or_else(refusals::no_such_role)?;
    let id = stream.id().parse().map_err(|_| refusals::no_such_role())?;
    let role: Loaded<Role> = auth.log.load(&stream).await.map_err(problem::of_load)?;
    Ok(RoleView::new(id, &role.state))
}
