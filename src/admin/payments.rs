//! `conche payments`.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use event_schemas::ids::StoreId;
use providers::payment::{
    Stripe,
    stripe::{Account, EVENT_KINDS, SECRET_NAME},
};
use vault::Vault;

use crate::{
    config::{Connect, Payments, Place},
    database::Database,
    terminal::{complain, say},
};

/// Most that is read from the standard input, in bytes: a few keys.
const INPUT_BYTES_MAX: u64 = 8 * 1024;

/// Does what was asked with a store's account.
pub async fn run(place: &Place, ask: &Payments) -> anyhow::Result<()> {
    // Before the database opens: nobody should wait for one to mistype a key.
    let account = match ask {
        Payments::Connect(connect) => Some(account(connect, &input()?)?),
        Payments::Disconnect { .. } | Payments::Show { .. } => None,
    };
    let database = Database::open_existing(place).await?;
    let result = async {
        database.require_migrated().await?;
        let vault = database.vault(place).await?;
        match (ask, &account) {
            (Payments::Connect(connect), Some(account)) => {
                keep(&vault, &connect.store, account).await
            }
            (Payments::Disconnect { store }, _) => {
                vault.remove_secret(StoreId::of_slug(store), SECRET_NAME).await?;
                Ok(say(&format!("payments of {store} go to the sandbox; no money moves"))?)
            }
            (Payments::Show { store } | Payments::Connect(Connect { store, .. }), _) => {
                show(&vault, store).await
            }
        }
    };
    let result: anyhow::Result<()> = result.await;
    database.close().await?;
    result
}

/// Keys on the standard input, where neither the list of processes nor the shell's history has
/// them.
fn input() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        complain("the secret key, then secrets of webhooks if there are, one a line; end with ^D:");
    }
    let mut text = String::new();
    std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn account(connect: &Connect, input: &str) -> anyhow::Result<Account> {
    let mut lines = input.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(secret_key) = lines.next() else { bail!("there is no key on the standard input") };
    let account = Account {
        secret_key: secret_key.to_owned(),
        publishable_key: connect.publishable_key.clone(),
        webhook_secrets: lines.map(str::to_owned).collect(),
        base_url: connect.base_url.clone(),
    };
    account.check()?;
    Ok(account)
}

async fn keep(vault: &Vault, store: &str, account: &Account) -> anyhow::Result<()> {
    let stripe = Stripe::new(account)?;
    stripe
        .accepts_key()
        .await
        .context("the provider does not answer, or does not accept the key; nothing was kept")?;
    vault.put_secret(StoreId::of_slug(store), SECRET_NAME, &account.write()).await?;
    show(vault, store).await?;
    if account.webhook_secrets.is_empty() {
        say(&format!(
            "next: make an endpoint at Stripe for https://YOUR-HOST/api/v1/webhooks/stripe/{store} \
             with these events, and connect again with its secret: {}",
            EVENT_KINDS.join(", ")
        ))?;
    }
    Ok(())
}

async fn show(vault: &Vault, store: &str) -> anyhow::Result<()> {
    let Some(secret) = vault.get_secret(StoreId::of_slug(store), SECRET_NAME).await? else {
        return Ok(say(&format!("payments of {store} go to the sandbox; no money moves"))?);
    };
    let account = Account::read(secret.expose())?;
    let mode = if account.is_live() { "live" } else { "test" };
    let place = account.base_url.as_deref().map(|url| format!(" at {url}")).unwrap_or_default();
    let hooks = account.webhook_secrets.len();
    Ok(say(&format!(
        "payments of {store} go to Stripe{place}, {mode} mode; {hooks} webhook secrets"
    ))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vendor;

    fn connect() -> Connect {
        Connect {
            store: "demo".into(),
            provider: Vendor::Stripe,
            publishable_key: Some("pk_test_a".into()),
            base_url: None,
        }
    }

    #[test]
    fn keys_come_line_by_line_and_a_mistake_does_not_show_them() {
        let account = |input| account(&connect(), input);
        let read = account("sk_test_a\n\nwhsec_1\nwhsec_2\n").unwrap();
        assert_eq!(read.secret_key, "sk_test_a");
        assert_eq!(read.webhook_secrets, ["whsec_1", "whsec_2"]);
        assert!(account("").is_err());
        let mistake = account("sk_tset_hidden").unwrap_err().to_string();
        assert!(!mistake.contains("hidden"), "{mistake}");
    }
}
