//! Who may read what, and what stores are trusted with.

use clap::{Args, Subcommand, ValueEnum};

use super::{DEFAULT_STORE, slug};

/// Keys to personal data, and credentials of stores.
#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Put everything under the first of the master keys; the others can be taken away afterwards.
    Rotate,
}

/// What payment providers send.
#[derive(Debug, Subcommand)]
pub enum Webhooks {
    /// Events that have failed twelve times and are not tried any more.
    #[command(subcommand)]
    Parked(ParkedWebhooks),
}

/// Events that have failed twelve times.
#[derive(Debug, Subcommand)]
pub enum ParkedWebhooks {
    /// The oldest thousand: which, when, and why the last try failed.
    List,
    /// All there is about one.
    Show {
        /// The provider's id of the event.
        event: String,
    },
    /// Try again, twelve times.
    Redrive {
        /// The provider's id of the event.
        event: Option<String>,
        /// All of them.
        #[arg(long, conflicts_with = "event")]
        all: bool,
    },
}

/// The audit of money and stock.
#[derive(Debug, Subcommand)]
pub enum Money {
    /// Replay the books and compare them with the providers'. Exits with 1 if anything is wrong.
    Verify,
}

/// Who may read which store with SQL.
#[derive(Debug, Subcommand)]
pub enum Analysts {
    /// Let a PostgreSQL role read a store. Repeating changes nothing.
    Allow(Grant),
    /// Take a store from a role.
    Deny(Grant),
    /// Roles and the ids of their stores.
    List,
}

/// A role and a store.
#[derive(Debug, Args)]
pub struct Grant {
    /// Name of the role, made before with `CREATE ROLE … LOGIN`.
    pub role: String,

    /// Slug of the store.
    #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
    pub store: String,
}

/// Stores' accounts at payment providers. A store without one is paid in the sandbox, where no
/// money moves.
#[derive(Debug, Subcommand)]
pub enum Payments {
    /// Keep a store's account, sealed, in place of the one before. Reads the secret key from the
    /// first line of the standard input, and secrets of its webhooks (whsec_…) from further lines.
    Connect(Connect),
    /// Forget a store's account: its payments go to the sandbox from now on.
    Disconnect {
        /// Slug of the store.
        #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
        store: String,
    },
    /// Who is paid for a store, without anything secret.
    Show {
        /// Slug of the store.
        #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
        store: String,
    },
}

/// A store's account.
#[derive(Debug, Args)]
pub struct Connect {
    /// Slug of the store.
    #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
    pub store: String,

    /// Whose account it is.
    #[arg(long, value_enum)]
    pub provider: Vendor,

    /// The key that shoppers' browsers are given: pk_…
    #[arg(long)]
    pub publishable_key: Option<String>,

    /// Where the provider is, if it is not the real one: a simulator on this machine, or a proxy.
    #[arg(long)]
    pub base_url: Option<String>,
}

/// A payment provider with accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Vendor {
    /// Stripe.
    Stripe,
}

/// A setting that is not shown.
#[derive(Clone)]
pub struct Hidden(String);

impl Hidden {
    /// What was set.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(…)")
    }
}

impl std::str::FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Hidden, Self::Err> {
        Ok(Hidden(text.to_owned()))
    }
}
