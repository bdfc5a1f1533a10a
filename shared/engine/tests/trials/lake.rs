//! Tables to start from: every format version, some upgraded on the way, with short histories by chance.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::TableUpdate;
use iceberg::spec::{
    FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Transform, Type,
    UnboundPartitionSpec,
};
use rand::Rng;

use crate::files::{ID, KEY, PART, column_name};
use crate::model::Flaw;
use crate::scheduler::{Scheduler, WriterKind};
use crate::world::{LOCATION, World, lock};
use crate::writers;

/// Specs: none, by `part`, by `key`.
const FLAT: i32 = 0;
const BY_PART: i32 = 1;
const BY_KEY: i32 = 2;

/// A table with a history by chance.
pub(crate) fn grown(seed: u64, flaw: Option<Flaw>) -> Arc<World> {
    // Its own numbers: a schedule of the same seed must not come to the same snapshot ids.
    let mut scheduler = Scheduler::random(seed ^ 1 << 63);
    scheduler.quiet = true;
    let version = match scheduler.rng.random_range(0..10) {
        0 => FormatVersion::V1,
        1..6 => FormatVersion::V2,
        _ => FormatVersion::V3,
    };
    let upgraded = version == FormatVersion::V3 && scheduler.rng.random_bool(0.4);
    let steps = scheduler.rng.random_range(4..8);
    let merges = scheduler.rng.random_bool(0.3);
    let world = Arc::new(World {
        scheduler: std::sync::Mutex::new(scheduler),
        ..World::default()
    });
    create(&world, if upgraded { FormatVersion::V2 } else { version }, merges);
    for step in 0..steps {
        if upgraded && step == steps / 2 {
            let format_version = FormatVersion::V3;
            world.apply(vec![TableUpdate::UpgradeFormatVersion { format_version }]);
        }
        let kind = lock(&world.scheduler).writer();
        // Half of the history is appends, or there is nothing to maintain.
        writers::act(&world, if step % 2 == 0 { WriterKind::Append } else { kind });
    }
    for orphan in 0..3 {
        world.put(
            &format!("{LOCATION}/data/orphan-{orphan}.parquet"),
            Bytes::from_static(b"lost"),
            true,
        );
    }
    lock(&world.model).flaw = flaw;
    world
}

fn create(world: &World, version: FormatVersion, merges: bool) {
    let fields = [ID, PART, KEY].map(|id| {
        let long = Type::Primitive(PrimitiveType::Long);
        NestedField::required(id, column_name(id), long).into()
    });
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let by = |id: i32, column: i32| {
        UnboundPartitionSpec::builder()
            .with_spec_id(id)
            .add_partition_field(column, format!("by_{}", column_name(column)), Transform::Identity)
            .unwrap()
            .build()
    };
    let flat = UnboundPartitionSpec::builder().with_spec_id(FLAT).build();
    let mut properties = HashMap::from([("commit.retry.num-retries".to_owned(), "6".to_owned())]);
    if merges {
        properties.insert("commit.manifest.min-count-to-merge".to_owned(), "3".to_owned());
    }
    let order = SortOrder::unsorted_order();
    let mut table = TableMetadataBuilder::new(schema, flat, order, LOCATION.to_owned(), version, properties)
        .unwrap()
        .add_default_partition_spec(by(BY_PART, PART))
        .unwrap();
    if version != FormatVersion::V1 {
        // Partition fields of version 1 are numbered anew in every spec, which the library refuses.
        table = table.add_partition_spec(by(BY_KEY, KEY)).unwrap();
    }
    let metadata = table.build().unwrap().metadata;
    *lock(&world.metadata) = Some((0, Arc::new(metadata)));
}
