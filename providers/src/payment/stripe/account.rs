//! A store's account at Stripe: what has to be known to act for it.

use serde::{Deserialize, Serialize};

/// Where Stripe is, unless an account says otherwise.
pub const BASE_URL: &str = "https://api.stripe.com";

/// Name of the account among a store's secrets.
pub const SECRET_NAME: &str = "payments/stripe";

/// Most secrets of webhooks at once: two while one is replaced, twice over.
const WEBHOOK_SECRETS_MAX: usize = 4;

/// Longest key or secret, in characters: Stripe's have about a hundred.
const KEY_CHARS_MAX: usize = 500;

/// A merchant's account at Stripe. Kept sealed; never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// `sk_live_…`, `sk_test_…`, or a restricted `rk_…`.
    pub secret_key: String,
    /// `pk_…`, handed to shoppers' browsers.
    pub publishable_key: Option<String>,
    /// `whsec_…`: what webhooks are signed with. More than one while a new one takes over.
    #[serde(default)]
    pub webhook_secrets: Vec<String>,
    /// Instead of [`BASE_URL`]: a simulator, or a proxy.
    pub base_url: Option<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("live", &self.is_live()).finish_non_exhaustive()
    }
}

/// Why something is no account. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Not what was stored.
    #[error("the stored account cannot be read")]
    Damaged,
    /// A publishable key, a typing error, something else.
    #[error("a secret key begins with sk_live_, sk_test_, rk_live_ or rk_test_")]
    SecretKey,
    /// A secret key would be handed to browsers.
    #[error("a publishable key begins with pk_live_ or pk_test_, like the secret key")]
    PublishableKey,
    /// Not what Stripe shows for an endpoint.
    #[error("a webhook secret begins with whsec_, and there are at most {WEBHOOK_SECRETS_MAX}")]
    WebhookSecret,
    /// Keys would go over the network in the clear.
    #[error("a base URL begins with https://, or with http:// on this machine")]
    BaseUrl,
}

impl Account {
    /// What [`Account::write`] made.
    pub fn read(stored: &[u8]) -> Result<Account, AccountError> {
        let account: Account = serde_json::from_slice(stored).map_err(|_| AccountError::Damaged)?;
        account.check()?;
        Ok(account)
    }

    /// As it is stored, to be sealed.
    ///
    /// # Panics
    ///
    /// Never: texts can be written.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts can be written as JSON")
    }

    /// Refuses what cannot be an account.
    pub fn check(&self) -> Result<(), AccountError> {
        let modes = ["live", "test"];
        let begins = |key: &str, kinds: &[&str]| {
            let fits = |kind: &&str, mode| key.starts_with(&format!("{kind}_{mode}_"));
            kinds.iter().any(|kind| modes.iter().any(|mode| fits(kind, mode)))
        };
        if !begins(&self.secret_key, &["sk", "rk"]) || !plain(&self.secret_key) {
            return Err(AccountError::SecretKey);
        }
        let same_mode = |key: &String| key.starts_with("pk_live_") == self.is_live();
        let public = |key: &String| begins(key, &["pk"]) && plain(key) && same_mode(key);
        if !self.publishable_key.as_ref().is_none_or(public) {
            return Err(AccountError::PublishableKey);
        }
        let signs = |secret: &String| secret.starts_with("whsec_") && plain(secret);
        if self.webhook_secrets.len() > WEBHOOK_SECRETS_MAX
            || !self.webhook_secrets.iter().all(signs)
        {
            return Err(AccountError::WebhookSecret);
        }
        if !self.base_url.as_deref().is_none_or(is_safe) {
            return Err(AccountError::BaseUrl);
        }
        Ok(())
    }

    /// Whether real money moves.
    pub fn is_live(&self) -> bool {
        self.secret_key.starts_with("sk_live_") || self.secret_key.starts_with("rk_live_")
    }
}

/// What can stand in a header: keys are of letters, digits and underscores.
fn plain(key: &str) -> bool {
    key.len() <= KEY_CHARS_MAX && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_safe(base: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(base) else { return false };
    let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let address_only =
        url.username().is_empty() && url.password().is_none() && url.query().is_none();
    address_only && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            secret_key: "sk_test_abc".into(),
            publishable_key: Some("pk_test_abc".into()),
            webhook_secrets: vec!["whsec_abc".into()],
            base_url: None,
        }
    }

    #[test]
    fn an_account_is_read_as_it_was_written_and_shows_nothing() {
        let account = account();
        assert_eq!(Account::read(&account.write()), Ok(account.clone()));
        assert!(!format!("{account:?}").contains("abc"));
        assert_eq!(Account::read(b"sk_test_abc"), Err(AccountError::Damaged));
    }

    #[test]
    fn keys_that_are_mixed_up_are_refused() {
        let refused = |change: fn(&mut Account)| {
            let mut account = account();
            change(&mut account);
            account.check().unwrap_err()
        };
        assert_eq!(refused(|a| a.secret_key = "pk_test_abc".into()), AccountError::SecretKey);
        assert_eq!(refused(|a| a.secret_key = "sk_test_a\r\nb".into()), AccountError::SecretKey);
        let secret: fn(&mut Account) = |a| a.publishable_key = Some("sk_test_abc".into());
        assert_eq!(refused(secret), AccountError::PublishableKey);
        let live: fn(&mut Account) = |a| a.publishable_key = Some("pk_live_abc".into());
        assert_eq!(refused(live), AccountError::PublishableKey);
        let hook: fn(&mut Account) = |a| a.webhook_secrets = vec!["abc".into()];
        assert_eq!(refused(hook), AccountError::WebhookSecret);
    }

    #[test]
    fn keys_do_not_go_over_the_network_in_the_clear() {
        let check = |base: &str| Account { base_url: Some(base.into()), ..account() }.check();
        assert_eq!(check("http://127.0.0.1:12111"), Ok(()));
        assert_eq!(check("https://stripe.example"), Ok(()));
        for base in ["http://stripe.example", "http://127.0.0.1.example", "file:///x", "stripe"] {
            assert_eq!(check(base), Err(AccountError::BaseUrl), "{base}");
        }
    }
}
