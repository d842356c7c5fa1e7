"""A TRON node in one process that speaks TRON's HTTP API and verifies for real.

`python -m services.devnet` serves it, `node.DevnetNode` is the same for tests. Read `chain` first; from there

- down: `processing` (what a transaction has to pass, in order), `rules/` (one module per contract type),
  `bandwidth`, `permissions`, `state` (layers of accounts), `store` (SQLite), `incoming` and `canonical` (bytes as
  java-tron reads them);
- contracts: `vm/` (the machine), `execution` (one run, all or nothing), `energy` (who pays), `deployed` and `tokens/`
  (what stands there from block 0), `contract_calls`;
- up: `calls` (`/wallet`, `/walletsolidity`), `broadcast`, `trongrid` (`/v1`), `admin`, `faults`, `answers` and
  `requests` (java-tron's JSON), `app`, `server`, `node`.
"""
