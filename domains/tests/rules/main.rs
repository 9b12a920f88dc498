//! Every rule as `given(events).when(decision).then(events | refusal)`.

mod access;
mod catalog;
mod company;
mod delegations;
mod factors;
mod given;
mod grants;
mod invitation;
mod keyring;
mod members;
mod password;
mod refresh;
mod roles;
mod schedule;
mod session;
mod shapes;
mod staff;
mod subscription;
mod user;
