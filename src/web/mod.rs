//! The server: pages and JSON.
