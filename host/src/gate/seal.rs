//! Receipts as texts that nobody can forge: a compact body and its HMAC-SHA256, in base64url.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;
use crate::counter::{Algorithm, Period, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Held, KeySpace, Limit, Receipt};
use crate::time::{Timestamp, micros};

/// Seals receipts, and opens what it sealed.
pub(super) struct Sealer {
    /// Keyed, and fed with the prefix: a receipt of other counters is no receipt here.
    mac: Hmac<Sha256>,
    prefix: Box<str>,
}

/// The form of the body. A new form gets a new number.
const FORM: u64 = 1;
const MAC_BYTES: usize = 32;
const LEAST_KEY_BYTES: usize = 32;
/// The longest sealed receipt, in bytes: of eight charges with the longest names.
const LONGEST: usize = 8 * 1024;

/// Random bytes, fit for a secret.
pub(crate) fn draw<const BYTES: usize>() -> Result<[u8; BYTES]> {
    let mut drawn = [0; BYTES];
    getrandom::fill(&mut drawn)
        .map_err(|_| Error::new(ErrorKind::System, "the machine gave no random bytes for a secret"))?;
    Ok(drawn)
}

impl Sealer {
    /// One that seals with `key`, or with one that is drawn now.
    pub(super) fn new(key: Option<&Secret>, prefix: &str) -> Result<Self> {
        let drawn: [u8; LEAST_KEY_BYTES];
        let key = match key {
            Some(key) => key.reveal().as_bytes(),
            None => {
                drawn = draw()?;
                &drawn
            }
        };
        if key.len() < LEAST_KEY_BYTES {
            let message = format!("a receipt key of {} bytes is too short: give at least {LEAST_KEY_BYTES}", key.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut mac = Hmac::new_from_slice(key).expect("a key of any length will do");
        mac.update(prefix.as_bytes());
        mac.update(&[0]);
        Ok(Self { mac, prefix: prefix.into() })
    }

    pub(super) fn seal(&self, receipt: &Receipt) -> String {
        let mut body = Body(Vec::with_capacity(256));
        body.receipt(receipt, &self.prefix);
        let mut sealed = body.0;
        let mac = self.mac.clone().chain_update(&sealed).finalize();
        sealed.extend_from_slice(&mac.into_bytes());
        BASE64.encode(sealed)
    }

    pub(super) fn unseal(&self, text: &str) -> Result<Receipt> {
        self.opened(text).ok_or_else(|| {
            let problem =
                "is not one that this server sealed, or was changed; several servers need one TOLLGATE_RECEIPT_KEY";
            Error::new(ErrorKind::Request, format!("the receipt {problem}"))
        })
    }

    fn opened(&self, text: &str) -> Option<Receipt> {
        let sealed = BASE64.decode(text).ok().filter(|sealed| sealed.len() <= LONGEST)?;
        let (body, mac) = sealed.split_at_checked(sealed.len().checked_sub(MAC_BYTES)?)?;
        self.mac.clone().chain_update(body).verify_slice(mac).ok()?;
        let mut reader = Reader(body);
        let receipt = reader.receipt(&self.prefix)?;
        reader.0.is_empty().then_some(receipt)
    }
}

/// A body while it is written: numbers in seven bits a byte, the least first, and texts after their length.
struct Body(Vec<u8>);

impl Body {
    fn receipt(&mut self, receipt: &Receipt, prefix: &str) {
        let Receipt { id, tenant, space, cost, born, until, span, repeatable_for, held } = receipt;
        self.number(FORM);
        self.0.extend_from_slice(&id.to_le_bytes());
        self.text(tenant);
        self.text(space);
        // What is later is told by how much.
        let open = until.since(*born);
        for number in [*cost, born.as_micros(), micros(open), micros(*span), micros(*repeatable_for), held.len() as u64]
        {
            self.number(number);
        }
        let keys = KeySpace::new(prefix, tenant, space);
        for held in held {
            self.held(held, &keys);
        }
    }

    fn held(&mut self, held: &Held, keys: &KeySpace) {
        let Held { key, limit, taken, mark_us, holder, .. } = held;
        let Rule { algorithm, max, window_us, burst, longest_wait_us, period, hold_us, .. } = *limit.rule();
        self.text(limit.id());
        let head = keys.key(limit, "");
        self.text(key.strip_prefix(&head).unwrap_or_default());
        let index = Algorithm::ALL.iter().position(|known| *known == algorithm).unwrap_or_default();
        for number in [index as u64, max, window_us, burst, longest_wait_us, hold_us, *taken, *mark_us, *holder] {
            self.number(number);
        }
        if let Some(Period { start_us, end_us, next_end_us }) = period {
            [start_us, end_us, next_end_us].into_iter().for_each(|number| self.number(number));
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }
}

/// What is left to read of a body. None wherever it is not what was written: that takes the key, so it is a body of another version.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn receipt(&mut self, prefix: &str) -> Option<Receipt> {
        if self.number()? != FORM {
            return None;
        }
        let id = u128::from_le_bytes(self.bytes(16)?.try_into().ok()?);
        let (tenant, space) = (self.text()?, self.text()?);
        let (cost, born) = (self.number()?, Timestamp::from_micros(self.number()?));
        let until = born.plus(self.duration()?);
        let (span, repeatable_for) = (self.duration()?, self.duration()?);
        let keys = KeySpace::new(prefix, tenant, space);
        let count = self.number()?;
        let held = (0..count).map(|_| self.held(&keys)).collect::<Option<Vec<Held>>>()?;
        Some(Receipt { id, tenant: tenant.into(), space: space.into(), cost, born, until, span, repeatable_for, held })
    }

    fn held(&mut self, keys: &KeySpace) -> Option<Held> {
        let (id, suffix) = (self.text()?, self.text()?);
        let algorithm = *Algorithm::ALL.get(usize::try_from(self.number()?).ok()?)?;
        let (max, window_us) = (self.number()?, self.number()?);
        let (burst, longest_wait_us, hold_us) = (self.number()?, self.number()?, self.number()?);
        let (taken, mark_us, holder) = (self.number()?, self.number()?, self.number()?);
        let period = if algorithm == Algorithm::Calendar { Some(self.period()?) } else { None };
        // What a change does is no matter of what is settled.
        let rule = Rule { max, window_us, burst, longest_wait_us, period, hold_us, ..Rule::of(algorithm) };
        let limit = Limit::with_rule(id, rule).ok()?;
        Some(Held { key: keys.key(&limit, suffix), limit, taken, unused: taken, mark_us, holder })
    }

    fn period(&mut self) -> Option<Period> {
        Some(Period { start_us: self.number()?, end_us: self.number()?, next_end_us: self.number()? })
    }

    fn duration(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_micros)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }
}
