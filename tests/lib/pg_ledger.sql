\set seq :seq + 1
\set aid random(1, 100000 * :scale)
\set bid random(1, 1 * :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
\set len random(1, 60)
BEGIN \;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid \;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid \;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid \;
INSERT INTO ledger VALUES (:gen, :client_id, :seq, :aid, :delta, :len, repeat(md5(:gen || '/' || :client_id || '/' || :seq), :len)) \;
COMMIT;
