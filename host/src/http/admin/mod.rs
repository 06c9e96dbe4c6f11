//! The admin API, `/admin/v1`: policies, rosters, tiers, tenants and the fleet, for whoever shows a token.
//!
//! It has a listener of its own. Its document in OpenAPI is made of the same list as its routes.

mod audit;
mod blocks;
mod decisions;
mod desk;
mod diff;
mod document;
mod entry;
mod fleet;
mod keys;
mod metrics;
mod policies;
mod question;
mod roster;
mod schemas;
mod table;
mod tail;
mod tenants;
mod tiers;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::{Extension, Router};

pub use desk::{Desk, Render};

use self::desk::Peer;

use self::table::Table;
use super::problem::Problem;
use crate::config::Scope::{Admin, Operate, Read};

/// The routes, each behind the scope that it wants.
pub fn router(desk: &Arc<Desk>) -> Router {
    let (router, document) = table(desk).finished();
    // A desk has one table, however often its routes are made.
    let _ = desk.document.set(serde_json::to_value(document).unwrap_or_default());
    let routes = "GET /admin/v1/openapi.json lists them";
    router
        .fallback(move || async move { Problem::new(StatusCode::NOT_FOUND, format!("no such route; {routes}")) })
        .method_not_allowed_fallback(move || async move {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("no such method; {routes}"))
        })
        .with_state(Arc::clone(desk))
}

/// The same routes for requests of one connection, which comes from this address.
pub(crate) fn from_peer(routes: &Router, peer: IpAddr) -> Router {
    routes.clone().layer(Extension(Peer(peer)))
}

fn table(desk: &Arc<Desk>) -> Table {
    Table::new(desk)
        .add(policies::__path_list, Read, policies::list)
        .add(policies::__path_push, Admin, policies::push)
        .add(policies::__path_inspect, Read, policies::inspect)
        .add(policies::__path_remove, Admin, policies::remove)
        .add(policies::__path_component, Read, policies::component)
        .add(policies::__path_put_cases, Admin, policies::put_cases)
        .add(policies::__path_add_signature, Admin, policies::add_signature)
        .add(roster::__path_active, Read, roster::active)
        .add(roster::__path_history, Read, roster::history)
        .add(roster::__path_propose, Operate, roster::propose)
        .add(roster::__path_revision, Read, roster::revision)
        .add(roster::__path_differences, Read, roster::differences)
        .add(roster::__path_activate, Operate, roster::activate)
        .add(roster::__path_roll_back, Operate, roster::roll_back)
        .add(tiers::__path_list, Read, tiers::list)
        .add(tiers::__path_put, Operate, tiers::put)
        .add(tenants::__path_list, Read, tenants::list)
        .add(tenants::__path_put, Operate, tenants::put)
        .add(tenants::__path_remove, Operate, tenants::remove)
        .add(blocks::__path_list, Read, blocks::list)
        .add(blocks::__path_put, Operate, blocks::put)
        .add(blocks::__path_remove, Operate, blocks::remove)
        .add(keys::__path_invalidate, Operate, keys::invalidate)
        .add(fleet::__path_fleet, Read, fleet::fleet)
        .add(fleet::__path_shadows, Read, fleet::shadows)
        .add(metrics::__path_metrics, Read, metrics::metrics)
        .add(decisions::__path_explain, Read, decisions::explain)
        .add(tail::__path_tail, Read, tail::tail)
        .add(audit::__path_audit, Admin, audit::audit)
        .add(document::__path_document, Read, document::document)
}
