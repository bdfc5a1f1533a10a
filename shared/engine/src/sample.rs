//! For tests of the data path: a table in memory with real Parquet files, rows as plain values, and random
//! schemas, values and evolutions of them.

mod generate;
mod table;
mod values;

pub(crate) use generate::Generator;
pub(crate) use table::{SampleTable, live};
pub(crate) use values::{Value, evolve, key_of, values_of};
