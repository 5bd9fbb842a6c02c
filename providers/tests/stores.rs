//! Whose account a store's money goes to.

use event_schemas::ids::StoreId;
use event_store::pool::{self, Role};
use providers::{
    Providers,
    payment::{
        PaymentProvider,
        stripe::{Account, SECRET_NAME},
    },
};
use test_database::Database;
use vault::{MasterKeys, Vault};

fn account(secret_key: &str) -> Vec<u8> {
    let account = Account {
        secret_key: secret_key.into(),
        publishable_key: None,
        webhook_secrets: vec![],
        base_url: None,
    };
    account.write()
}

#[tokio::test]
async fn a_store_with_an_account_is_paid_there_and_every_other_in_the_sandbox() {
    let database = Database::new().await;
    let pool = pool::connect_lazy(database.options(), Role::Vault, 2);
    let vault = Vault::new(pool, MasterKeys::generate().0);
    let providers = Providers::of_accounts(vault.clone());
    let (ours, other) = (StoreId::of_slug("ours"), StoreId::of_slug("other"));
    vault.put_secret(ours, SECRET_NAME, &account("sk_test_a")).await.unwrap();

    assert_eq!(providers.of(ours).await.unwrap().name(), "stripe");
    assert_eq!(providers.of(other).await.unwrap().name(), "sandbox");
    // What began in the sandbox ends there.
    assert_eq!(providers.named(ours, "sandbox").await.unwrap().name(), "sandbox");
    assert!(providers.named(other, "stripe").await.is_err());
    // A clone acts by the same connections, until there is another account.
    let same = providers.clone().of(ours).await.unwrap();
    let (PaymentProvider::Stripe(one), PaymentProvider::Stripe(two)) =
        (providers.of(ours).await.unwrap(), same)
    else {
        panic!("the account is gone");
    };
    assert!(one.is_same(&two));
    vault.put_secret(ours, SECRET_NAME, &account("sk_test_b")).await.unwrap();
    let PaymentProvider::Stripe(new) = providers.of(ours).await.unwrap() else {
        panic!("the account is gone");
    };
    assert!(!one.is_same(&new));
    vault.put_secret(ours, SECRET_NAME, b"nonsense").await.unwrap();
    let unreadable = providers.of(ours).await.unwrap_err().to_string();
    assert!(!unreadable.contains("nonsense"), "{unreadable}");
    vault.remove_secret(ours, SECRET_NAME).await.unwrap();
    assert_eq!(providers.of(ours).await.unwrap().name(), "sandbox");
}
