"""The data factory: topologies x testbenches x technologies x corners x sizings into one columnar store, resumable."""
