//! The real driver. SKELETON: being written.
