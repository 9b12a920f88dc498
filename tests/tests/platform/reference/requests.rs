//! Commands of the story as requests.

use super::{Actor, Answer, Ask, Command, Firm, Method, Rank, Telling, Value, Wish, account, json, new_uuid};
use kisum::platform::Callee;
use kisum_events::Timestamp;
use kisum_tests::account::text;

pub(super) fn rank(tenant_role: &str) -> Rank {
    match tenant_role {
        "USER" => Rank::User,
        "MANAGER" => Rank::Manager,
        "ADMIN" => Rank::Admin,
        "TENANT_SUPERADMIN" => Rank::Superadmin,
        other => panic!("there is no role {other}"),
    }
}

const fn tenant_role(rank: Rank) -> &'static str {
    match rank {
        Rank::User => "USER",
        Rank::Manager => "MANAGER",
        Rank::Admin => "ADMIN",
        Rank::Superadmin => "TENANT_SUPERADMIN",
    }
}

/// Of the company's list, else of another company's, else of none.
fn pick(own: &[String], others: &[String], place: usize) -> String {
    let other = || others.get(place.checked_sub(own.len() + 1)?);
    own.get(place).or_else(other).cloned().unwrap_or_else(|| new_uuid().to_string())
}

impl Telling {
    /// Sends a command, and keeps the ids of what it made.
    pub(super) async fn request(&mut self, actor: Actor, command: &Command) -> Answer {
        match command {
            Command::Register { owner, slug } => self.register(actor, *owner, slug).await,
            Command::Company { company, wish } => self.wish(actor, *company, wish).await,
            Command::SuspendPerson { person } => self.stands(*person, "suspend").await,
            Command::ReactivatePerson { person } => {
                let answer = self.stands(*person, "reactivate").await;
                self.sign_in_again(*person).await;
                answer
            }
            Command::Buy { company, module, .. } => self.purchase(Method::PUT, *company, module).await,
            Command::Lose { company, module } => self.purchase(Method::DELETE, *company, module).await,
            other => panic!("{other:?} cannot be asked for over HTTP"),
        }
    }

    async fn sign_in_again(&mut self, person: usize) {
        let signed = self.people[person].account.sign_in(&self.visitor).await;
        self.people[person].signed = signed;
    }

    /// Asks as the service `admin`, again while a busy machine says "not now".
    async fn as_platform(&self, callee: Callee, ask: Ask<'_>) -> Answer {
        let asking = async {
            loop {
                let answer = self.visitor.platform.internal(callee, ask.clone()).await;
                let answer = answer.unwrap_or_else(|error| panic!("{error:#}"));
                if answer.status != 503 {
                    return answer;
                }
                tokio::time::sleep(super::PAUSE).await;
            }
        };
        let within = tokio::time::timeout(super::PATIENCE, asking).await;
        within.unwrap_or_else(|_| panic!("\"not now\" for {:?}", super::PATIENCE))
    }

    async fn stands(&self, person: usize, change: &str) -> Answer {
        let path = format!("/internal/v1/users/{}/{change}", self.people[person].account.user_id);
        self.as_platform(Callee::Auth, Ask::new(Method::POST, &path).body(json!({})).key(new_uuid())).await
    }

    async fn register(&mut self, actor: Actor, owner: usize, slug: &str) -> Answer {
        let slug = format!("{slug}-{}", self.mark);
        let mut body = json!({ "name": "A firm", "slug": slug });
        let answer = match actor {
            Actor::Person(person) => {
                self.as_person(person, Ask::new(Method::POST, "/companies").body(body).key(new_uuid())).await
            }
            Actor::Platform => {
                body["ownerUserId"] = json!(self.people[owner].account.user_id);
                let ask = Ask::new(Method::POST, "/internal/v1/companies").body(body).key(new_uuid());
                self.as_platform(Callee::Auth, ask).await
            }
        };
        if answer.is_success() {
            let id = text(&answer, "/companyId");
            let ask = Ask::get("/auth/me/companies").from_position(answer.position.as_deref());
            let mine = self.as_person(owner, ask).await;
            let items = mine.body["data"]["items"].as_array().cloned().unwrap_or_default();
            let own = items.iter().find(|item| item["companyId"] == id.as_str());
            let own = own.and_then(|item| item["membershipId"].as_str()).unwrap_or_else(|| panic!("{mine}"));
            let members = vec![own.to_owned()];
            self.firms.push(Firm { id, slug, members, roles: vec![], delegations: vec![] });
        }
        answer
    }

    /// Buys or gives up a module, and waits until Auth knows of it.
    async fn purchase(&self, method: Method, company: usize, module: &str) -> Answer {
        let base = format!("/internal/v1/companies/{}", self.firms[company].id);
        let (path, body) = match module {
            "basic" => (format!("{base}/subscription"), json!({ "package": "basic" })),
            addon => (format!("{base}/addons/{addon}"), json!({})),
        };
        let ask = Ask::new(method.clone(), &path).key(new_uuid());
        let answer = self.as_platform(Callee::Core, if method == Method::PUT { ask.body(body) } else { ask }).await;
        let path = format!("{base}/delegation-policy/ADMIN");
        let known = Ask::get(&path).from_position(answer.position.as_deref());
        let known = self.as_platform(Callee::Auth, known).await;
        assert!(known.is_success(), "Auth does not learn of {module}: {known}");
        answer
    }

    async fn wish(&mut self, actor: Actor, company: usize, wish: &Wish) -> Answer {
        let (method, path, body) = self.route(company, wish, actor);
        let firm = &self.firms[company];
        let answer = match actor {
            Actor::Platform => {
                let path = format!("/internal/v1/companies/{}{path}", firm.id);
                let ask = Ask::new(method, &path).key(new_uuid());
                self.as_platform(Callee::Auth, if let Some(body) = body { ask.body(body) } else { ask }).await
            }
            Actor::Person(person) => {
                let (path, slug) = (format!("/companies/{}{path}", firm.id), firm.slug.clone());
                let ask = Ask::new(method, &path).company(&slug).key(new_uuid());
                self.as_person(person, if let Some(body) = body { ask.body(body) } else { ask }).await
            }
        };
        if answer.status == 201 {
            let firm = &mut self.firms[company];
            match wish {
                Wish::AddMember { .. } => firm.members.push(text(&answer, "/membershipId")),
                Wish::CreateRole { .. } => firm.roles.push(text(&answer, "/roleId")),
                Wish::Delegate { .. } => firm.delegations.push(text(&answer, "/delegationId")),
                other => panic!("{other:?} makes nothing: {answer}"),
            }
        }
        answer
    }

    /// The route of a wish below the company's.
    fn route(&self, company: usize, wish: &Wish, actor: Actor) -> (Method, String, Option<Value>) {
        let (put, delete) = (Method::PUT, Method::DELETE);
        let member = |place: &usize| self.id(company, |firm| &firm.members, *place);
        let role = |place: &usize| self.id(company, |firm| &firm.roles, *place);
        let because = || Some(json!({ "reason": "No." }));
        match wish {
            Wish::Approve => (Method::POST, "/approve".to_owned(), Some(json!({}))),
            Wish::Reject => (Method::POST, "/reject".to_owned(), because()),
            Wish::Suspend => (Method::POST, "/suspend".to_owned(), because()),
            Wish::Reactivate => (Method::POST, "/reactivate".to_owned(), Some(json!({}))),
            Wish::AddMember { person, rank } => {
                let account::Account { email, user_id, .. } = &self.people[*person].account;
                let whom = if actor == Actor::Platform { ("userId", user_id) } else { ("email", email) };
                let body = json!({ whom.0: whom.1, "tenantRole": tenant_role(*rank) });
                (Method::POST, "/members".to_owned(), Some(body))
            }
            Wish::ChangeMember { member: whom, rank, suspended } => {
                let mut body = json!({});
                if let Some(rank) = rank {
                    body["tenantRole"] = json!(tenant_role(*rank));
                }
                if let Some(suspended) = suspended {
                    body["suspended"] = json!(suspended);
                }
                (Method::PATCH, format!("/members/{}", member(whom)), Some(body))
            }
            Wish::EndMember { member: whom } => (delete, format!("/members/{}", member(whom)), None),
            Wish::GrantModule { member: whom, module } => {
                (put, format!("/members/{}/modules/{module}", member(whom)), None)
            }
            Wish::RevokeModule { member: whom, module } => {
                (delete, format!("/members/{}/modules/{module}", member(whom)), None)
            }
            Wish::GrantPermission { member: whom, permission } => {
                (put, format!("/members/{}/permissions/{permission}", member(whom)), None)
            }
            Wish::RevokePermission { member: whom, permission } => {
                (delete, format!("/members/{}/permissions/{permission}", member(whom)), None)
            }
            Wish::CreateRole { name, permissions } => {
                (Method::POST, "/roles".to_owned(), Some(json!({ "name": name, "permissions": permissions })))
            }
            Wish::ChangeRole { role: which, name, permissions } => {
                let mut body = json!({});
                if let Some(name) = name {
                    body["name"] = json!(name);
                }
                if let Some(permissions) = permissions {
                    body["permissions"] = json!(permissions);
                }
                (Method::PATCH, format!("/roles/{}", role(which)), Some(body))
            }
            Wish::DeleteRole { role: which } => (delete, format!("/roles/{}", role(which)), None),
            Wish::AssignRole { member: whom, role: which } => {
                (put, format!("/members/{}/roles/{}", member(whom), role(which)), None)
            }
            Wish::UnassignRole { member: whom, role: which } => {
                (delete, format!("/members/{}/roles/{}", member(whom), role(which)), None)
            }
            Wish::SetPolicy { rank, modules, permissions } => {
                let body = json!({ "modules": modules, "permissions": permissions });
                (put, format!("/delegation-policy/{}", tenant_role(*rank)), Some(body))
            }
            Wish::Delegate { to, permissions, from, until } => {
                let mut body = json!({ "to": member(to), "permissions": permissions, "validUntil": self.at(*until) });
                if let Some(from) = from {
                    let from: Timestamp = self.at(*from);
                    body["validFrom"] = json!(from);
                }
                (Method::POST, "/delegations".to_owned(), Some(body))
            }
            Wish::EndDelegation { delegation } => {
                let id = self.id(company, |firm| &firm.delegations, *delegation);
                (delete, format!("/delegations/{id}"), None)
            }
        }
    }

    fn id(&self, company: usize, list: impl Fn(&Firm) -> &Vec<String>, place: usize) -> String {
        let others = self.firms.get(usize::from(company == 0)).map(&list);
        pick(list(&self.firms[company]), others.map(Vec::as_slice).unwrap_or_default(), place)
    }
}
