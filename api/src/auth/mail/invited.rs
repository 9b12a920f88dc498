//! Mails that invite somebody: to an address that may be nobody's, about a company and whoever sends it.

use super::{
    Post,
    letter::{self, Names},
    send::{Outcome, SendError, hand_over, unreadable},
    work::{Due, Kind},
};
use kisum_domains::{
    Company, Invitation, Membership, User,
    invitation::{self, Found},
};
use kisum_events::{InvitationId, StreamName};
use kisum_log::LoadError;

/// Sends it, unless the invitation is over, or was sent again since.
pub(super) async fn deliver(post: &Post, due: &Due) -> Result<Outcome, SendError> {
    let id = InvitationId::new(due.person.uuid());
    let Some(secret) = due.secret else { return Ok(Outcome::GivenUp("not_good")) };
    let token = post.key.invitation(id, secret);
    let invitation = match post.log.load::<Invitation>(&StreamName::invitation(id)).await {
        Ok(invitation) => invitation.state,
        Err(error) => return unreadable(error),
    };
    let Ok(found) = invitation::find(&invitation, &token.presented(), post.clock.now()) else {
        return Ok(Outcome::GivenUp("not_good"));
    };
    let names = match names(post, &found).await {
        Ok(names) => names,
        Err(error) => return unreadable(error),
    };
    let letter = letter::write(Kind::Invitation, &post.app_url, Some(&token.reveal()), &names);
    Ok(hand_over(post, due, found.email, letter).await)
}

async fn names(post: &Post, found: &Found<'_>) -> Result<Names, LoadError> {
    let company = post.log.load::<Company>(&StreamName::company(found.company_id)).await?.state.name;
    let mut names = Names { company, inviter: String::new() };
    if let Some(member) = found.invited_by
        && let Some(user) = post.log.load::<Membership>(&StreamName::membership(member)).await?.state.user_id
    {
        let user = post.log.load::<User>(&StreamName::user(user)).await?.state;
        names.inviter = user.name.get().cloned().unwrap_or_default();
    }
    Ok(names)
}
