//! `conche vault`.

use vault::Rotated;

use crate::{config::Place, database::Database, terminal::say};

/// Puts everything under the first of the master keys.
pub async fn rotate(place: &Place) -> anyhow::Result<()> {
    let database = Database::open_existing(place).await?;
    let result = async {
        database.require_migrated().await?;
        Ok(database.vault(place).await?.rotate().await?)
    };
    let result: anyhow::Result<Rotated> = result.await;
    database.close().await?;
    let Rotated { person_keys, secrets } = result?;
    say(&format!(
        "{person_keys} keys of persons and {secrets} secrets are now under the first master key; \
         the others are needed no more"
    ))?;
    Ok(())
}
