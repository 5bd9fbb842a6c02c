//! The append function driven bare: one call per command, nothing decided, nothing served.

use std::time::Duration;

use event_store::{
    Engine, NewEvent, StreamKey, Unit,
    pool::{self, Role},
};
use uuid::Uuid;

use crate::{
    api::{Rate, Shape},
    load, new_id,
    program::Program,
};

/// Appends per second with `clients` at once, events of the given shape, each on a new stream.
pub(crate) async fn measure(
    program: &Program,
    clients: usize,
    span: Duration,
    shape: Shape,
) -> anyhow::Result<Rate> {
    let connections = u32::try_from(clients)?;
    let options = program.connect_options().await?;
    let pool = pool::connect(options, Role::Writer, connections).await?;
    let engine = Engine::new(pool, new_id);
    let (calls, seconds) = load::run(clients, span, |_, _| {
        let engine = engine.clone();
        async move {
            engine.append(vec![unit(shape)]).await?;
            Ok(())
        }
    })
    .await?;
    Ok(Rate::of(calls, calls * shape.events_per_command(), seconds))
}

fn unit(shape: Shape) -> Unit {
    let event = |_| NewEvent {
        event_id: new_id(),
        event_type: "BenchmarkStored".to_owned(),
        schema_version: 1,
        payload: shape.payload().into_bytes(),
    };
    Unit {
        stream: StreamKey { store_id: Uuid::nil(), category: "benchmark", id: new_id() },
        expected: 0,
        command_id: new_id(),
        fingerprint: [0; 32],
        metadata: shape.metadata().into_bytes(),
        keys: Vec::new(),
        events: (0..shape.events_per_command()).map(event).collect(),
    }
}
