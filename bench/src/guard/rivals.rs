//! casbin and cedar-policy on the same question, each as its documentation puts it for roles within companies, and with
//! whatever makes it faster: what can be prepared is prepared, and what is cheap is compared first.

use super::check::{Engine, Question, World};
use anyhow::{Context as _, anyhow};
use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _};
use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request};
use std::collections::{HashMap, HashSet};

/// Roles within domains (casbin's documentation, "RBAC with domains"): a role's permissions are the same in every
/// company. The action is compared before the role is looked up.
const MODEL: &str = "
[request_definition]
r = sub, dom, act

[policy_definition]
p = sub, act

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.act == p.act && g(r.sub, p.sub, r.dom)
";

/// Both, ready to be asked.
pub(super) fn engines(world: &World) -> anyhow::Result<Vec<Engine<'_>>> {
    let names: Vec<_> =
        world.members.iter().map(|member| (member.user.to_string(), member.company.to_string())).collect();
    let mut engines = Vec::new();
    let enforcer = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(casbin(world, &names)))?;
    let asked = names.clone();
    engines.push(Engine {
        name: "casbin",
        against: None,
        answers: Box::new(move |number| {
            let Some(Question { member, permission, .. }) = world.questions.get(number) else { return false };
            let (Some((user, company)), Some(permission)) = (asked.get(*member), world.permissions.get(*permission))
            else {
                return false;
            };
            enforcer.enforce((user.as_str(), company.as_str(), permission.as_str())).unwrap_or(false)
        }),
    });
    let cedar = Cedar::new(world, &names)?;
    engines.push(Engine { name: "cedar-policy", against: None, answers: Box::new(move |number| cedar.allows(number)) });
    Ok(engines)
}

async fn casbin(world: &World, names: &[(String, String)]) -> anyhow::Result<Enforcer> {
    let mut enforcer = Enforcer::new(DefaultModel::from_str(MODEL).await?, MemoryAdapter::default()).await?;
    let mut policies = Vec::new();
    for (role, held) in world.roles.iter().enumerate() {
        for permission in held.iter().filter_map(|&held| world.permissions.get(held)) {
            policies.push(vec![format!("role-{role}"), permission.clone()]);
        }
    }
    enforcer.add_policies(policies).await?;
    let members = world.members.iter().zip(names);
    let roles =
        members.map(|(member, (user, company))| vec![user.clone(), format!("role-{}", member.role), company.clone()]);
    enforcer.add_grouping_policies(roles.collect()).await?;
    Ok(enforcer)
}

/// Cedar with one policy a role, members as entities in their roles, and every request made in advance.
struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Cedar {
    fn new(world: &World, names: &[(String, String)]) -> anyhow::Result<Self> {
        let mut policies = String::new();
        for (role, held) in world.roles.iter().enumerate() {
            let actions = held.iter().filter_map(|&held| world.permissions.get(held));
            let actions: Vec<_> = actions.map(|action| format!("Action::\"{action}\"")).collect();
            policies.push_str(&format!(
                "permit(principal in Role::\"role-{role}\", action in [{}], resource) \
                 when {{ principal in resource }};\n",
                actions.join(", ")
            ));
        }
        let mut entities: Vec<Entity> = Vec::new();
        let mut companies = HashSet::new();
        for (member, (user, company)) in world.members.iter().zip(names) {
            let parents = [uid(&format!("Role::\"role-{}\"", member.role))?, uid(&format!("Company::\"{company}\""))?];
            entities.push(Entity::new(uid(&format!("User::\"{user}\""))?, HashMap::new(), parents.into())?);
            companies.insert(company);
        }
        for company in companies {
            entities.push(Entity::new(uid(&format!("Company::\"{company}\""))?, HashMap::new(), HashSet::new())?);
        }
        for role in 0..world.roles.len() {
            entities.push(Entity::new(uid(&format!("Role::\"role-{role}\""))?, HashMap::new(), HashSet::new())?);
        }
        let requests = world.questions.iter().map(|question| {
            let (user, company) = names.get(question.member).context("a member without a name")?;
            let action = world.permissions.get(question.permission).context("no such permission")?;
            let [user, action, company] =
                [format!("User::\"{user}\""), format!("Action::\"{action}\""), format!("Company::\"{company}\"")];
            anyhow::Ok(Request::new(uid(&user)?, uid(&action)?, uid(&company)?, Context::empty(), None)?)
        });
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: policies.parse::<PolicySet>().map_err(|error| anyhow!("{error}"))?,
            requests: requests.collect::<Result<_, _>>()?,
            entities: Entities::from_entities(entities, None)?,
        })
    }

    fn allows(&self, number: usize) -> bool {
        self.requests.get(number).is_some_and(|request| {
            let response = self.authorizer.is_authorized(request, &self.policies, &self.entities);
            response.decision() == Decision::Allow
        })
    }
}

fn uid(text: &str) -> anyhow::Result<EntityUid> {
    text.parse::<EntityUid>().map_err(|error| anyhow!("{text}: {error}"))
}
