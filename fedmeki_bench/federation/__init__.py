"""Who sends what to whom: rules, stages, the round loop, payloads and the byte ledger."""
