//! One question, checked when it is asked.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::error::{Error, ErrorKind};

/// One question: may this subject of this tenant do this?
///
/// Every part is checked when it is given, so a request that exists can be decided. It borrows its texts: asking allocates nothing.
///
/// # Example
///
/// ```
/// use tollgate::Request;
///
/// let request = Request::new("acme", "alice")?.with_route("/export")?.with_cost(5)?;
/// assert_eq!(request.cost(), 5);
/// let wrong = Request::new("acme", "").unwrap_err();
/// assert_eq!(wrong.to_string(), "`subject` is empty; give 1 to 128 bytes");
/// # Ok::<(), tollgate::FieldError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    tenant: &'a str,
    subject: &'a str,
    tier: Option<&'a str>,
    route: &'a str,
    cost: u64,
    attributes: &'a [(&'a str, &'a str)],
    once: Option<&'a str>,
}

/// A part of a request that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The part's name, as in [`Request`] and in JSON.
    pub field: &'static str,
    /// What is wrong with it and what is accepted, without its value: a wrong field may hold a misplaced secret.
    pub problem: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.problem)
    }
}

impl std::error::Error for FieldError {}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::new(ErrorKind::Request, error.to_string())
    }
}

impl<'a> Request<'a> {
    /// The longest tenant, in bytes.
    pub const MAX_TENANT_BYTES: usize = 64;
    /// The longest subject, in bytes: as long as the longest key suffix, so that a subject always is a key.
    pub const MAX_SUBJECT_BYTES: usize = super::KeySpace::MAX_SUFFIX_BYTES;
    /// The longest route, in bytes.
    pub const MAX_ROUTE_BYTES: usize = 256;
    /// The largest cost.
    pub const MAX_COST: u64 = 1_000_000_000;
    /// The most attributes.
    pub const MAX_ATTRIBUTES: usize = 16;
    /// The longest attribute name, in bytes.
    pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 64;
    /// The longest attribute value, in bytes.
    pub const MAX_ATTRIBUTE_VALUE_BYTES: usize = 256;
    /// The longest token of a request that may be asked again, in bytes.
    pub const MAX_ONCE_BYTES: usize = 128;

    /// A request of `subject`, paid by `tenant`, of cost 1.
    ///
    /// # Errors
    ///
    /// Fails if the tenant is not 1 to 64 bytes, or the subject not 1 to 128 bytes, without control characters; the tenant may hold no
    /// braces either, since they mark the tenant in keys.
    pub fn new(tenant: &'a str, subject: &'a str) -> Result<Self, FieldError> {
        check_text("tenant", tenant, 1, Self::MAX_TENANT_BYTES)?;
        if tenant.contains(['{', '}']) {
            return Err(FieldError {
                field: "tenant",
                problem: "holds a brace; braces mark the tenant in keys".to_owned(),
            });
        }
        check_text("subject", subject, 1, Self::MAX_SUBJECT_BYTES)?;
        Ok(Self { tenant, subject, tier: None, route: "", cost: 1, attributes: &[], once: None })
    }

    /// The same request, decided by `tier` instead of the tenant's own tier.
    ///
    /// # Errors
    ///
    /// Fails if the tier is not a name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn with_tier(mut self, tier: &'a str) -> Result<Self, FieldError> {
        if !super::is_name(tier) {
            return Err(FieldError { field: "tier", problem: "is not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned() });
        }
        self.tier = Some(tier);
        Ok(self)
    }

    /// The same request for `route`: a path, a method, an operation, as the application names it.
    ///
    /// # Errors
    ///
    /// Fails if the route is over 256 bytes or holds a control character.
    pub fn with_route(mut self, route: &'a str) -> Result<Self, FieldError> {
        check_text("route", route, 0, Self::MAX_ROUTE_BYTES)?;
        self.route = route;
        Ok(self)
    }

    /// The same request of another cost, in the unit of the limits.
    ///
    /// # Errors
    ///
    /// Fails if the cost is not 1 to 1,000,000,000.
    pub fn with_cost(mut self, cost: u64) -> Result<Self, FieldError> {
        if !(1..=Self::MAX_COST).contains(&cost) {
            return Err(FieldError { field: "cost", problem: format!("is {cost}; give 1 to 1000000000") });
        }
        self.cost = cost;
        Ok(self)
    }

    /// The same request with further facts, which the policy sees as they are.
    ///
    /// # Errors
    ///
    /// Fails if there are more than 16, or if a name is over 64 bytes, a value over 256, or either holds a control character.
    pub fn with_attributes(mut self, attributes: &'a [(&'a str, &'a str)]) -> Result<Self, FieldError> {
        if attributes.len() > Self::MAX_ATTRIBUTES {
            let problem = format!("has {} entries; give at most {}", attributes.len(), Self::MAX_ATTRIBUTES);
            return Err(FieldError { field: "attributes", problem });
        }
        for (name, value) in attributes {
            check_text("attributes", name, 1, Self::MAX_ATTRIBUTE_NAME_BYTES)?;
            check_text("attributes", value, 0, Self::MAX_ATTRIBUTE_VALUE_BYTES)?;
        }
        self.attributes = attributes;
        Ok(self)
    }

    /// The same request, charged once however often it is asked with this token: an admitted one is answered alike for ten minutes, and takes
    /// nothing more. A refused one took nothing, and is decided anew. Each request needs a token of its own within its tenant and policy.
    ///
    /// # Errors
    ///
    /// Fails if the token is not 1 to 128 bytes without control characters.
    pub fn with_once(mut self, token: &'a str) -> Result<Self, FieldError> {
        check_text("once", token, 1, Self::MAX_ONCE_BYTES)?;
        self.once = Some(token);
        Ok(self)
    }

    /// The same request, counted for a subject of ours.
    pub(crate) const fn sharing(mut self, subject: &'static str) -> Self {
        self.subject = subject;
        self
    }

    /// The account that pays.
    #[must_use]
    pub const fn tenant(&self) -> &'a str {
        self.tenant
    }

    /// Whom a limit counts.
    #[must_use]
    pub const fn subject(&self) -> &'a str {
        self.subject
    }

    /// The tier that the caller named, if it did.
    #[must_use]
    pub const fn tier(&self) -> Option<&'a str> {
        self.tier
    }

    /// What is asked for; may be empty.
    #[must_use]
    pub const fn route(&self) -> &'a str {
        self.route
    }

    /// How much is asked for.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// The token by which it may be asked again, if it has one.
    #[must_use]
    pub const fn once(&self) -> Option<&'a str> {
        self.once
    }

    /// Further facts, as name and value.
    #[must_use]
    pub const fn attributes(&self) -> &'a [(&'a str, &'a str)] {
        self.attributes
    }
}

fn check_text(field: &'static str, text: &str, min: usize, max: usize) -> Result<(), FieldError> {
    let problem = if text.len() < min {
        format!("is empty; give {min} to {max} bytes")
    } else if text.len() > max {
        format!("has {} bytes; give at most {max}", text.len())
    } else if let Some(at) = text.find(char::is_control) {
        format!("holds a control character at byte {at}; give printable text")
    } else {
        return Ok(());
    };
    Err(FieldError { field, problem })
}
