"""Durable jobs: the ledger of what is true, the executor that does the work, the runner between them."""
