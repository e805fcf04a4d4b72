"""GitHub webhooks, gathered, watched and followed up by three durable jobs.

`receiver` takes deliveries, `jobs` says what happens with them, `store` keeps what came of it.
"""
