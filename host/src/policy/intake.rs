//! The way of a component from bytes to a policy that may serve, step by step, each with an error of its own.

use super::load::{self, digest};
use super::refusal::{Refusal, Stage};
use super::{Component, Engine, Keyring, Policy, Setting, Signature, cases, world};

/// Takes in components: nothing of it is on the way of a decision.
///
/// # Example
///
/// ```
/// # async fn example() -> tollgate::Result<()> {
/// use tollgate::policy::{Candidate, Engine, Intake, Keyring, Stage};
///
/// let intake = Intake::new(Engine::new()?, Keyring::default());
/// let refused = intake.examine(Candidate::new("mine.wasm", "pro", b"not wasm".to_vec())).await.unwrap_err();
/// assert_eq!(refused.stage, Stage::Form);
/// assert!(refused.error.to_string().starts_with("failed to load policy `mine.wasm` at `form`: it is not WebAssembly"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Intake {
    engine: Engine,
    keyring: Keyring,
}

/// A component that wants to serve, and what is known of it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// The tier that it is to decide for.
    pub tier: &'a str,
    /// The component.
    pub bytes: Vec<u8>,
    /// The SHA-256 that it must have, in hexadecimal, if it was asked for by it.
    pub digest: Option<&'a str>,
    /// Who vouches for it.
    pub signatures: &'a [Signature],
    /// What it is to be configured with, a JSON text. Without one it is neither configured nor tried by cases.
    pub configuration: Option<&'a str>,
    /// What it must answer.
    pub cases: &'a [Cases<'a>],
}

/// A text of golden cases: see [`cases::Scenario`].
#[derive(Clone, Copy, Debug)]
pub struct Cases<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

impl<'a> Candidate<'a> {
    /// A component for a tier, and nothing else known of it.
    #[must_use]
    pub fn new(name: &'a str, tier: &'a str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name, tier, bytes: bytes.into(), digest: None, signatures: &[], configuration: None, cases: &[] }
    }
}

impl Intake {
    /// Takes in components for `engine`, signed by the keys of `keyring`.
    #[must_use]
    pub const fn new(engine: Engine, keyring: Keyring) -> Self {
        Self { engine, keyring }
    }

    /// Takes a component through every [`Stage`]: when it is answered, it is compiled, and has taken its configuration and answered its cases.
    ///
    /// # Errors
    ///
    /// Fails at the first step that it does not pass.
    pub async fn examine(&self, candidate: Candidate<'_>) -> Result<Component, Refusal> {
        let Candidate { name, tier, bytes, digest: wanted, signatures, configuration, cases } = candidate;
        world::check_size(&bytes).map_err(|(stage, problem)| Refusal::new(name, stage, problem))?;
        if let Some(wanted) = wanted {
            let found = digest(&bytes);
            if !found.eq_ignore_ascii_case(wanted) {
                let problem = format!("its SHA-256 is {found}, not {}: fetch it again", wanted.escape_debug());
                return Err(Refusal::new(name, Stage::Digest, problem));
            }
        }
        self.keyring.admit(name, tier, &bytes, signatures)?;
        let component = load::load(&self.engine, name, bytes).await?;
        if let Some(configuration) = configuration {
            try_out(&component, name, configuration, cases).await?;
        }
        Ok(component)
    }
}

async fn try_out(component: &Component, name: &str, configuration: &str, cases: &[Cases<'_>]) -> Result<(), Refusal> {
    let canary = Policy::new(component, configuration, Setting::in_memory()).await;
    canary.map_err(|error| Refusal::new(name, Stage::Configure, error.to_string()))?;
    for Cases { name: called, text } in cases {
        let ran = cases::run(component, configuration, text).await;
        ran.map_err(|error| Refusal::new(name, Stage::Cases, format!("{called}: {error}")))?;
    }
    Ok(())
}
