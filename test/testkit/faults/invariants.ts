import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { entities } from '../../../src/bootstrap/entities.ts';
import { createLog } from '../../../src/common/log.ts';
import { Secret } from '../../../src/common/secret.ts';
import { openDatabase } from '../../../src/database/database.ts';
import type { DatabaseLocation } from '../../../src/database/location.ts';
import { parseKeyring } from '../../../src/encryption/keyring.ts';
import { Vault } from '../../../src/encryption/vault.ts';
import { dataFolder } from '../database.ts';
import { temporaryFolder, until } from '../process.ts';
import { rootKey } from '../root-key.ts';
import { findViolations, type Violations } from './check.ts';
import { type Cluster, makeCluster } from './cluster.ts';
import { LoadGenerator } from './load.ts';
import { OperationLog } from './operation-log.ts';
import { ServerProcesses } from './processes.ts';

/** The number of kills. */
export interface KillCounts {
  servers: number;
  /** The kills of PostgreSQL; absent on the embedded database. */
  databases?: number;
}

/** The kills, and the state afterwards. */
export interface CrashReport {
  kills: KillCounts;
  seconds: number;
  /** The number of changes by the result that clients received. */
  changes: OperationLog['counts'];
  connections: number;
  wrongAnswers: string[];
  findings: Violations;
}

/** With these settings, PostgreSQL acknowledges a commit before it writes it. */
export const asynchronousCommitSettings = ['synchronous_commit=off', 'wal_writer_delay=10s'];

const workers = 8;

/** Kills servers and PostgreSQL under load, and checks the data afterwards. */
export async function crashOnPostgreSQL(kills: KillCounts, ...settings: string[]): Promise<CrashReport> {
  await using cluster = await makeCluster(...settings);
  using folder = temporaryFolder();
  const keys = rootKey('first');
  await using fleet = new ServerProcesses({
    DATABASE_URL: cluster.url,
    DATA_DIR: folder.path,
    ENCRYPTION_KEYS: keys,
  });
  await Promise.all([fleet.start(1), fleet.start(2)]);
  const location = { kind: 'postgresql', url: new Secret(cluster.url) } as const;
  return await survive(fleet, keys, location, kills, killServersAndCluster(fleet, cluster, kills));
}

/** Kills two servers, and then PostgreSQL, after some changes each time. */
export function killServersAndCluster(fleet: ServerProcesses, cluster: Cluster, kills: KillCounts): Killing {
  return async (afterSome) => {
    const isEnough = () => fleet.kills >= kills.servers;
    await Promise.all([1, 2].map((number) => fleet.killOften(number, afterSome, isEnough)));
    for (let count = 0; count < (kills.databases ?? 0); count += 1) {
      await afterSome();
      await cluster.kill();
      await cluster.start();
    }
  };
}

/** Kills a server with an embedded database under load, and checks the data afterwards. */
export async function crashEmbedded(kills: KillCounts): Promise<CrashReport> {
  using folder = dataFolder();
  const keys = rootKey('first');
  await using fleet = new ServerProcesses({ DATA_DIR: folder.path, ENCRYPTION_KEYS: keys });
  await fleet.start(1);
  const location = { kind: 'embedded', folder: join(folder.path, 'database') } as const;
  return await survive(fleet, keys, location, kills, (afterSome) =>
    fleet.killOften(1, afterSome, () => fleet.kills >= kills.servers),
  );
}

async function survive(
  fleet: ServerProcesses,
  keys: string,
  location: DatabaseLocation,
  kills: KillCounts,
  killing: Killing,
): Promise<CrashReport> {
  const { journal, seconds } = await killUnderLoad(fleet, killing);
  await fleet.stop();
  const findings = await lookInto(journal, location, keys);
  const { counts: changes, wrongAnswers, entries } = journal;
  return { kills, seconds, changes, connections: entries.length, wrongAnswers, findings };
}

/** Kills processes. `afterSome` waits until clients have made some changes. */
export type Killing = (afterSome: () => Promise<unknown>) => Promise<void>;

/** Kills processes while clients change connections. Returns the operations of the clients, and how long it took. */
export async function killUnderLoad(
  fleet: ServerProcesses,
  killing: Killing,
): Promise<{ journal: OperationLog; seconds: number }> {
  const journal = new OperationLog();
  const load = new LoadGenerator(journal, fleet.apiKey, () => fleet.urls());
  const start = performance.now();
  load.start(workers);
  // Random, so that kills interrupt changes at every stage.
  await killing(async () => {
    const enough = journal.counts.acknowledged + 1 + Math.random() * 20;
    await until('changes are made', () => (journal.counts.acknowledged >= enough ? true : undefined));
    await sleep(Math.random() * 20);
  });
  await load.stop();
  return { journal, seconds: (performance.now() - start) / 1_000 };
}

/** Opens the database directly, which is possible once no server uses it. */
export async function lookInto(
  journal: OperationLog,
  location: DatabaseLocation,
  keys: string,
): Promise<Violations> {
  const log = createLog('silent');
  const database = await openDatabase(location, entities, log);
  try {
    return await findViolations(journal, database, new Vault(parseKeyring(new Secret(keys)), log));
  } finally {
    await database.close();
  }
}
