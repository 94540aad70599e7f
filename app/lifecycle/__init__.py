"""Export, deletion and erasure of accounts."""
