//! What is asked.

/// One question: may this subject of this tenant do this?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The account that pays. Every counter the policy charges belongs to it.
    pub tenant: String,
    /// Whom a limit counts: the id of an API key, a user, an address. Never a secret.
    pub subject: String,
    /// What is asked for, as the application names it: a path, a method, an operation. May be empty.
    pub route: String,
    /// How much the request asks for, in the unit of the limits. At least 1.
    pub cost: u64,
    /// When the host received the request, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Further facts from the application, as name and value, in its order.
    pub attributes: Vec<(String, String)>,
}

impl Request {
    /// A request of `subject` with cost 1 at the Unix epoch, with everything else empty.
    #[must_use]
    pub fn of(subject: impl Into<String>) -> Self {
        Self {
            tenant: String::new(),
            subject: subject.into(),
            route: String::new(),
            cost: 1,
            now_ms: 0,
            attributes: Vec::new(),
        }
    }

    /// The same request for `route`.
    #[must_use]
    pub fn for_route(mut self, route: impl Into<String>) -> Self {
        self.route = route.into();
        self
    }

    /// The same request with `cost`.
    #[must_use]
    pub const fn with_cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// The value of the first attribute called `name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }
}
