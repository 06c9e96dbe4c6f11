//! Who may pass to an operation.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::api::bearer;
use super::super::problem::Problem;
use super::desk::{Desk, Peer};
use crate::config::Scope;

/// The entry of one operation.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) desk: Arc<Desk>,
    pub(super) scope: Scope,
    /// As the audit log calls it.
    pub(super) action: Arc<str>,
}

/// Whose token was shown: the name that the audit log gets.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) Arc<str>);

/// Lets the request pass if its token may do this.
pub(super) async fn admit(State(entry): State<Entry>, mut request: Request, next: Next) -> Response {
    let token =
        request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes())).map(<[u8]>::to_vec);
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    match entry.who(token.as_deref(), peer, request.uri().path()).await {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Entry {
    async fn who(&self, token: Option<&[u8]>, peer: IpAddr, path: &str) -> Result<Who, Problem> {
        let Some(token) = token else {
            let told = "no token: send `Authorization: Bearer` with one of TOLLGATE_ADMIN_TOKENS";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, told));
        };
        let Some(holder) = self.desk.holder(token) else {
            self.desk.count_wrong(peer).await?;
            tracing::warn!(%peer, "somebody showed the admin API a token that is not known");
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is not one of TOLLGATE_ADMIN_TOKENS"));
        };
        self.desk.count_call(&holder.name).await?;
        if holder.scope < self.scope {
            self.desk.count_refusal(&holder.name).await?;
            let (has, wanted) = (holder.scope.name(), self.scope.name());
            let told = format!("the token of `{}` has the scope `{has}`, and this wants `{wanted}`", holder.name);
            self.desk.fleet.note_refusal(&holder.name, &self.action, path, &told).await;
            return Err(Problem::new(StatusCode::FORBIDDEN, told));
        }
        Ok(Who(holder.name.as_str().into()))
    }
}
