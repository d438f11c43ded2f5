//! Single tables, for the host to put into an initial RAM disk.
