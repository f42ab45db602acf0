/**
 * Rotates keys while servers answer requests: `npm run stress:rotation`, with DATABASE_URL of an empty PostgreSQL
 * database. Rotates 10,000 connections with two busy servers and `rotate --reseal`, which is killed twice; then starts a
 * server without the old root key. Exit code 1 after any failure.
 */
import { readConfig } from '../src/config/read-config.ts';
import { rotateUnderLoad } from '../test/testkit/key-rotation.ts';

const { databaseUrl } = readConfig();
if (!databaseUrl) throw new Error('set DATABASE_URL to an empty PostgreSQL database');
const size = { databaseUrl, connections: 10_000, organisations: 8, workers: 8, sample: 500 };
const { requests, failures, ...seen } = await rotateUnderLoad(size, console.log);
const requestCount = Object.values(requests).reduce((sum, count) => sum + count, 0);
console.log({ ...seen, requests, requestCount, failed: failures.length });
for (const failure of failures.slice(0, 20)) console.log(failure);
const { dataKeysOnOldRoot, onRetiredDataKeys, onKeysOfOldRoot } = seen.left;
if (failures.length + dataKeysOnOldRoot + onRetiredDataKeys + onKeysOfOldRoot > 0) process.exitCode = 1;
