import { Secret } from '../../src/common/secret.ts';
import type { Violations } from '../../test/testkit/faults/check.ts';
import { lookInto } from '../../test/testkit/faults/invariants.ts';
import { LoadGenerator } from '../../test/testkit/faults/load.ts';
import { OperationLog } from '../../test/testkit/faults/operation-log.ts';
import { ServerProcesses } from '../../test/testkit/faults/processes.ts';
import { temporaryFolder, until } from '../../test/testkit/process.ts';
import { rootKey } from '../../test/testkit/root-key.ts';
import { type Fault, otherOf } from './faults.ts';
import { Observer, type Recovery } from './observer.ts';
import { PatroniCluster } from './patroni.ts';
import { Watcher } from './watcher.ts';

const workers = 4;

/** The pause of a client between two changes, which keeps the computer from being busy all the time. */
const pauseMs = 200;

/** What became of the creates of one fault. */
export interface Creates {
  acknowledged: number;
  /** Acknowledged and not in the database. */
  lost: number;
  /** Refused, and in the database nevertheless. */
  falselyRefused: number;
  /** Without an answer, or with one that leaves it open: in the database. */
  unknownStored: number;
  /** The same, not in the database. */
  unknownNotStored: number;
}

/** What was seen of one fault. */
export interface FaultReport {
  recoveries: Recovery[];
  creates: Creates;
  /** All changes of the clients, creates included. */
  changes: OperationLog['counts'];
  /** Errors that no failover explains. */
  wrongAnswers: string[];
  findings: Violations;
  /** Changes in the database that a subscription has not got. */
  missedEvents: number;
  /** Errors of subscriptions, and their ends. */
  subscriptionFailures: string[];
}

/**
 * Runs one fault a number of times on a cluster of its own, with two servers under load.
 *
 * @param stack owns all processes and files
 */
export async function runFault(
  fault: Fault,
  rounds: number,
  stack: AsyncDisposableStack,
): Promise<FaultReport> {
  const cluster = stack.use(new PatroniCluster(!fault.isAsynchronous));
  await cluster.start();
  const folder = stack.use(temporaryFolder());
  const keys = rootKey('first');
  const settings = { DATABASE_URL: cluster.url, DATA_DIR: folder.path, ENCRYPTION_KEYS: keys };
  const fleet = stack.use(new ServerProcesses(settings));
  await Promise.all([fleet.start(1), fleet.start(2)]);
  const journal = new OperationLog();
  const subscriptions = await Promise.all(fleet.urls().map((url) => Watcher.open(url, fleet.apiKey)));
  const load = new LoadGenerator(journal, fleet.apiKey, () => fleet.urls(), pauseMs);
  load.start(workers);
  const observer = new Observer(journal, fleet.apiKey, fleet.urls(), cluster);
  const recoveries: Recovery[] = [];
  for (let round = 0; round < rounds; round += 1) {
    recoveries.push(await runRound(fault, round, cluster, observer, journal));
    console.log(`round ${round + 1}`, toRounded(recoveries.at(-1)));
  }
  await Promise.all([load.stop(), observer.stop()]);
  const rows = await cluster.query<{ id: string; name: string; version: number }>(
    'select id, name, version from app_connection',
    60_000,
  );
  const changes = new Map(rows.map(({ id, version }) => [id, version]));
  const countMissed = () => Math.max(...subscriptions.map((each) => each.countMissed(changes)));
  await until('all events have arrived', () => countMissed() === 0 || undefined, 30_000).catch(
    () => undefined,
  );
  const missedEvents = countMissed();
  const subscriptionFailures = subscriptions.flatMap(({ failures }) => failures);
  for (const subscription of subscriptions) await subscription.close();
  await fleet.stop();
  return {
    recoveries,
    creates: countCreates(journal, new Set(rows.map(({ name }) => name))),
    changes: journal.counts,
    wrongAnswers: journal.wrongAnswers,
    findings: await lookInto(journal, { kind: 'postgresql', url: new Secret(cluster.url) }, keys),
    missedEvents,
    subscriptionFailures,
  };
}

async function runRound(
  fault: Fault,
  round: number,
  cluster: PatroniCluster,
  observer: Observer,
  journal: OperationLog,
): Promise<Recovery> {
  const former = await cluster.complete();
  await acknowledgeMore(journal);
  observer.reset();
  await acknowledgeMore(journal);
  const address = cluster.network.address(fault.keepsPrimary ? former : otherOf(former));
  observer.markFault();
  await fault.strike(cluster, former, round);
  if (fault.keepsPrimary) {
    await cluster.commit();
    observer.forgetPrimary();
  }
  await until('both servers create again', () => observer.hasRecovered(address) || undefined, 240_000);
  // With the former primary as its standby, so that what it does when it comes back counts too.
  fault.repair?.(cluster, former);
  await cluster.complete();
  await acknowledgeMore(journal);
  return observer.recovery();
}

async function acknowledgeMore(journal: OperationLog): Promise<void> {
  const { acknowledged } = journal.counts;
  await until('changes are acknowledged', () => journal.counts.acknowledged > acknowledged + 50 || undefined);
}

function countCreates({ entries }: OperationLog, stored: ReadonlySet<string>): Creates {
  const count = (isOne: (entry: (typeof entries)[number], isStored: boolean) => boolean) =>
    entries.filter((entry) => isOne(entry, stored.has(entry.name))).length;
  const isUnknown = ({ id, possible }: (typeof entries)[number]) => id === undefined && possible.length > 1;
  return {
    acknowledged: count(({ id }) => id !== undefined),
    lost: count(({ id }, isStored) => id !== undefined && !isStored),
    falselyRefused: count(({ id, possible }, isStored) => !id && possible.length === 1 && isStored),
    unknownStored: count((entry, isStored) => isUnknown(entry) && isStored),
    unknownNotStored: count((entry, isStored) => isUnknown(entry) && !isStored),
  };
}

const toRounded = (recovery: Recovery | undefined) =>
  Object.fromEntries(
    Object.entries(recovery ?? {}).map(([name, seconds]) => [name, Number(seconds.toFixed(2))]),
  );
