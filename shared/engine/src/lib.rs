//! The maintenance engine: rewrite_data_files and expire_snapshots on Iceberg tables, natively.
