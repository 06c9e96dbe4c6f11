//! Six classes of routes, each with its own limit for each subject.
//!
//! Every class and every route has a default; the configuration changes what it names. Given routes stand before the default ones, the
//! first pattern that matches gives the class, and what none matches is `general`.
//!
//! ```json
//! {"classes": {"auth": "30,60"}, "routes": [{"pattern": "/v2/login", "class": "auth"}]}
//! ```

use serde::Deserialize;
use tollgate_guest::{Config, Counters, Decision, Fault, Limit, Pattern, Policy, Problems, Request, Rule};

/// Charges the limit of the route's class. The id of the limit is the name of the class.
pub struct RouteClasses {
    routes: Vec<Route>,
    /// In the order of [`Class`].
    limits: Vec<Limit>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    General,
    Auth,
    Sensitive,
    Admin,
    Mfa,
    Financial,
}

use Class::{Admin, Auth, Financial, Mfa, Sensitive};

/// From the most particular to the most general: the first that matches counts.
const ROUTES: [(&str, Class); 16] = [
    ("/api/auth/mfa*", Mfa),
    ("/api/mfa/*", Mfa),
    ("/api/auth/password*", Sensitive),
    ("/api/auth/*", Auth),
    ("/auth/*", Auth),
    ("/login", Auth),
    ("/signup", Auth),
    ("/api/admin/*", Admin),
    ("/admin/*", Admin),
    ("/api/payments*", Financial),
    ("/api/billing*", Financial),
    ("/api/payouts*", Financial),
    ("/api/checkout*", Financial),
    ("/api/account/*", Sensitive),
    ("/api/profile/*", Sensitive),
    ("/api/keys*", Sensitive),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    classes: Classes,
    #[serde(default)]
    routes: Vec<Route>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Classes {
    general: Option<Rule>,
    auth: Option<Rule>,
    sensitive: Option<Rule>,
    admin: Option<Rule>,
    mfa: Option<Rule>,
    financial: Option<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    pattern: Pattern,
    class: Class,
}

impl Policy for RouteClasses {
    const NAME: &'static str = "route-classes";
    const SCHEMA: &'static str = include_str!("../schema.json");

    fn configure(config: &Config) -> Result<Self, Problems> {
        let Settings { classes, mut routes } = config.parse()?;
        for (pattern, class) in ROUTES {
            routes.push(Route { pattern: Pattern::new(pattern)?, class });
        }
        let limit = |id, given: Option<Rule>, default: &str| {
            given.map_or_else(|| default.parse(), Ok).and_then(|rule| Limit::new(id, rule))
        };
        let limits = vec![
            limit("general", classes.general, "120,60")?,
            limit("auth", classes.auth, "30,60")?,
            limit("sensitive", classes.sensitive, "10,60")?,
            limit("admin", classes.admin, "300,60")?,
            limit("mfa", classes.mfa, "5,60")?,
            limit("financial", classes.financial, "20,60")?,
        ];
        Ok(Self { routes, limits })
    }

    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
        let route = self.routes.iter().find(|route| route.pattern.matches(&request.route));
        let class = route.map_or(Class::General, |route| route.class);
        let limit = self.limits.get(class as usize).ok_or_else(|| Fault::Other("a class has no limit".to_owned()))?;
        let decision: Decision = counters.charge(&[limit.charge(&request.subject, request.cost)])?.into();
        Ok(decision.with("class", limit.id()))
    }
}

tollgate_guest::export!(RouteClasses);

#[cfg(test)]
mod tests {
    use super::*;

    tollgate_guest::scenarios!(RouteClasses);

    #[test]
    fn a_wrong_configuration_is_told_with_what_is_accepted() {
        for (config, expected) in [
            (
                r#"{"classes": {"auht": "30,60"}}"#,
                "classes: unknown field `auht`, expected one of `general`, `auth`, `sensitive`, `admin`, `mfa`, `financial` (line 1, column 22)",
            ),
            (
                r#"{"classes": {"auth": "30;60"}}"#,
                "classes.auth: `30;60` is not a limit: write `10/s burst 20`, `10/s burst 20 delay 2s`, `1000/day`, `100/10s sliding`, `120,60` (count,seconds), \
                 `5 at once for 30s` or `1000/calendar-month Europe/Berlin`; units are ms, s, m, h, d and w (line 1, column 22)",
            ),
            (
                r#"{"routes": [{"pattern": "/x", "class": "fast"}]}"#,
                "routes[0].class: unknown variant `fast`, expected one of `general`, `auth`, `sensitive`, `admin`, `mfa`, `financial` \
                 (line 1, column 40)",
            ),
        ] {
            assert_eq!(RouteClasses::configure(&Config::new(config)).map(|_| ()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_decision_tells_the_class() {
        let policy = RouteClasses::configure(&Config::new("{}")).unwrap();
        let counters = tollgate_guest::testing::counters();
        for (route, class) in [
            ("/api/auth/login", "auth"),
            ("/api/auth/mfa/verify", "mfa"),
            ("/api/auth/password-reset", "sensitive"),
            ("/api/admin/users", "admin"),
            ("/api/payments", "financial"),
            ("/api/things", "general"),
            ("", "general"),
        ] {
            let decision = policy.decide(&Request::of("alice").for_route(route), &counters).unwrap();
            assert_eq!(decision, Decision::allow().with("class", class), "{route}");
        }
    }
}
