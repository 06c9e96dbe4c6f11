//! Building a gate, by hand or from a configuration.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::counters::Counters;
use super::faults::FaultLog;
use super::plan::Code;
use super::roster::Roster;
use super::seal::Sealer;
use super::subjects::Subjects;
use super::watchers::Watchers;
use super::{Inner, Plan, TierPlan, Tollgate};
use crate::config::{Config, PerLimit, PolicySource, RedisConfig, Secret, StoreConfig, TierConfig};
use crate::counter::OnChange;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Isolation, LimitRules, Precision};
use crate::policy::{Compiler, Engine, Keyring, Signature};
use crate::store::{Guard, GuardOptions, Memory, Store};
use crate::time::{Clock, SystemClock};

/// What a [`Tollgate`] is to be.
#[derive(Debug)]
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    prefix: String,
    deadline: Duration,
    hosts: NonZeroU32,
    refusal_memory: bool,
    receipt_key: Option<Secret>,
    subjects_per_tenant: NonZeroUsize,
    compiler: Compiler,
    plan: Plan,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            store: None,
            clock: Arc::new(SystemClock::new()),
            prefix: "ratelimit".to_owned(),
            deadline: Duration::from_millis(50),
            hosts: NonZeroU32::MIN,
            refusal_memory: true,
            receipt_key: None,
            subjects_per_tenant: SUBJECTS_PER_TENANT,
            compiler: Compiler::default(),
            plan: Plan::default(),
        }
    }
}

impl Builder {
    /// Counts in `store`, behind a [`Guard`] if it is not local. Without one, counters live in the memory of this process.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Tells the policies the time of `clock`. Without one, the machine's. A store has a clock of its own.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Begins every key with `prefix` instead of `ratelimit`.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Gives each decision this long instead of 50 ms: 1 ms to 60 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Tells how many hosts share the store, instead of 1: while it fails, each may spend such a part of every limit that it counts by itself.
    #[must_use]
    pub fn hosts(mut self, hosts: NonZeroU32) -> Self {
        self.hosts = hosts;
        self
    }

    /// Whether a list that a shared store refused is refused again without asking, for a second at most: it is unless this says no. What another
    /// host gives back is noticed as much later.
    #[must_use]
    pub fn refusal_memory(mut self, remembers: bool) -> Self {
        self.refusal_memory = remembers;
        self
    }

    /// Seals receipts with `key`, of at least 32 bytes: every gate with the same key and prefix can open them, and none without. Without one,
    /// a key is drawn, and only this gate can.
    #[must_use]
    pub fn receipt_key(mut self, key: Secret) -> Self {
        self.receipt_key = Some(key);
        self
    }

    /// Gives each tenant this budget of subjects within a minute instead of 100,000. Those beyond it that are new share one counter, so that limits
    /// hold, more coarsely, and a flood of subjects makes no flood of counters.
    ///
    /// A subject that was seen within the last half minute is never one of them. Up to 30 bytes of memory are taken for each subject.
    #[must_use]
    pub fn subjects_per_tenant(mut self, most: NonZeroUsize) -> Self {
        self.subjects_per_tenant = most;
        self
    }

    /// Compiles policies by `compiler` instead of in this process.
    #[must_use]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Adds a tier, or replaces the one of that name.
    #[must_use]
    pub fn tier(mut self, name: impl Into<String>, tier: TierPlan) -> Self {
        self.plan.tiers.insert(name.into(), tier);
        self
    }

    /// Puts `tenant` into `tier`.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>, tier: impl Into<String>) -> Self {
        self.plan.tenants.insert(tenant.into(), tier.into());
        self
    }

    /// Puts every tenant that is not listed into `tier`.
    #[must_use]
    pub fn default_tier(mut self, tier: impl Into<String>) -> Self {
        self.plan.default_tier = Some(tier.into());
        self
    }

    /// Takes tiers and tenants from `plan`.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Compiles, starts and configures every policy.
    ///
    /// # Errors
    ///
    /// Fails if a name, a limit or a policy is not acceptable, or if the machine cannot run policies.
    pub async fn build(self) -> Result<Tollgate> {
        check_prefix(&self.prefix)?;
        if !DEADLINES.contains(&self.deadline) {
            let message = format!("a deadline of {:?} is not 1 ms to 60 s", self.deadline);
            return Err(Error::new(ErrorKind::Config, message));
        }
        let sealer = Sealer::new(self.receipt_key.as_ref(), &self.prefix)?;
        let engine = Engine::with(self.compiler)?;
        let clock = self.clock;
        let store = match self.store {
            None => Counters::Local(Arc::new(Memory::new(Arc::clone(&clock)))),
            Some(store) if store.is_local() => Counters::Local(store),
            Some(store) => {
                let options = GuardOptions {
                    hosts: self.hosts,
                    patience: self.deadline,
                    prefix: self.prefix.clone(),
                    refusal_memory: self.refusal_memory,
                };
                Counters::Shared(Guard::new(store, Arc::clone(&clock), options))
            }
        };
        let roster = Roster::build(&engine, &store, self.plan, None).await?.reissued(1, None);
        Ok(Tollgate(Arc::new(Inner {
            engine,
            store,
            clock,
            prefix: self.prefix.into_boxed_str(),
            deadline: self.deadline,
            sealer,
            roster: ArcSwap::from_pointee(roster),
            replacing: tokio::sync::Mutex::new(()),
            faults: FaultLog::default(),
            subjects: Subjects::new(self.subjects_per_tenant.get()),
            storms: watch::Sender::new(None),
            watchers: Watchers::default(),
        })))
    }
}

const SUBJECTS_PER_TENANT: NonZeroUsize = NonZeroUsize::new(100_000).expect("it is not zero");
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

fn check_prefix(prefix: &str) -> Result<()> {
    let sound =
        (1..=64).contains(&prefix.len()) && !prefix.contains(|c: char| c.is_control() || matches!(c, '{' | '}' | ' '));
    if sound {
        return Ok(());
    }
    let message = format!(
        "key prefix `{}` is not 1 to 64 bytes without braces, spaces and control characters",
        prefix.escape_debug()
    );
    Err(Error::new(ErrorKind::Config, message))
}

impl Tollgate {
    /// The gate that `config` describes: reads the policies' files, connects to the store, builds every tier.
    ///
    /// In development a Redis that cannot be reached is replaced by counters in memory, and a warning says so.
    ///
    /// # Errors
    ///
    /// Fails if a policy cannot be read or built or is not signed as it should be, and in production if Redis cannot be reached.
    pub async fn from_config(config: &Config) -> Result<Self> {
        Self::from_config_with(config, Compiler::default()).await
    }

    /// The same, with policies that `compiler` compiles instead of this process.
    ///
    /// # Errors
    ///
    /// As [`from_config`](Self::from_config).
    pub async fn from_config_with(config: &Config, compiler: Compiler) -> Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let builder = Self::builder()
            .key_prefix(&config.key_prefix)
            .deadline(config.decision.deadline)
            .subjects_per_tenant(config.decision.subjects_per_tenant)
            .clock(Arc::clone(&clock))
            .compiler(compiler)
            .plan(plan(config)?);
        let builder = match &config.receipts.key {
            Some(key) => builder.receipt_key(key.clone()),
            None => builder,
        };
        let builder = match &config.store {
            StoreConfig::Memory { max_counters } => builder.store(Memory::with_capacity(clock, *max_counters)),
            StoreConfig::Redis(redis) => match (connect(redis, &config.key_prefix).await, redis.memory_fallback) {
                (Ok(store), _) => builder.store(store).hosts(redis.hosts).refusal_memory(redis.refusal_memory),
                (Err(error), Some(max_counters)) => {
                    tracing::warn!(
                        "{error:#}; counting in the memory of this process, which is not shared and is lost at restart"
                    );
                    builder.store(Memory::with_capacity(clock, max_counters))
                }
                (Err(error), None) => return Err(error),
            },
        };
        builder.build().await
    }
}

#[cfg(feature = "redis")]
async fn connect(redis: &RedisConfig, prefix: &str) -> Result<crate::store::Redis> {
    use crate::store::{Redis, RedisOptions, RedisTime};
    let options = RedisOptions {
        connect_timeout: redis.connect_timeout,
        prefix: prefix.to_owned(),
        time: RedisTime::Server,
        without_scripts: redis.without_scripts,
    };
    Redis::connect(&redis.target, options).await
}

#[cfg(not(feature = "redis"))]
async fn connect(_: &RedisConfig, _: &str) -> Result<Memory> {
    Err(Error::new(ErrorKind::Config, "this build knows no Redis: build it with the feature `redis`"))
}

fn plan(config: &Config) -> Result<Plan> {
    let mut plan = Plan { default_tier: config.default_tier.clone(), ..Plan::default() };
    plan.on_missing_tier = config.decision.on_policy_fault;
    plan.tenants.extend(config.tenants.iter().map(|(name, tenant)| (name.clone(), tenant.tier.clone())));
    let keyring = Keyring::new(&config.signing);
    for (name, tier) in &config.tiers {
        plan.tiers.insert(name.clone(), tier_plan(name, tier, config, &keyring)?);
    }
    Ok(plan)
}

fn tier_plan(name: &str, tier: &TierConfig, config: &Config, keyring: &Keyring) -> Result<TierPlan> {
    let code = match &tier.policy {
        PolicySource::BuiltIn(policy) => Code::BuiltIn(policy.clone()),
        PolicySource::File(path) => {
            let bytes = std::fs::read(path).map_err(|error| {
                let message = format!("tier `{name}`: failed to read the policy {}", path.display());
                Error::new(ErrorKind::Config, message).because(error)
            })?;
            let called = path.display().to_string();
            let admitted = keyring.admit(&called, name, &bytes, &Signature::beside(path)?);
            admitted.map_err(|refusal| {
                let message = format!("tier `{name}`: {}", refusal.error.message());
                Error::new(refusal.error.kind(), message)
            })?;
            Code::Component(called, bytes)
        }
    };
    let usual = if matches!(code, Code::BuiltIn(_)) { Isolation::Shared } else { Isolation::Tenant };
    Ok(TierPlan {
        code,
        isolation: tier.isolation.unwrap_or(usual),
        configuration: tier.config.to_string(),
        on_store_fault: rules(&tier.on_store_fault, config.decision.on_store_fault),
        precision: rules(&tier.precision, Precision::Exact),
        on_change: rules(&tier.on_change, OnChange::Keep),
        on_policy_fault: tier.on_policy_fault.unwrap_or(config.decision.on_policy_fault),
        trial: None,
    })
}

/// What a tier says of its limits, over what holds for all tiers.
fn rules<T: Copy>(tier: &PerLimit<T>, general: T) -> LimitRules<T> {
    let rules = LimitRules::from(tier.general.unwrap_or(general));
    tier.limits.iter().fold(rules, |rules, (id, rule)| rules.with(id.as_str(), *rule))
}
