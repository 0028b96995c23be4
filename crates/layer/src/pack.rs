//! From files to a layer with its index.
