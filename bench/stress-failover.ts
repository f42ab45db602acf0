/**
 * Checks that a failover loses nothing: `npm run stress:failover`. It runs a PostgreSQL primary and a synchronous standby under Patroni,
 * with etcd, behind HAProxy, on computers of a network of its own (network namespaces), with two servers and clients that create and
 * change connections. Ten times each, the primary is killed, frozen, switched over, and cut off, and loses its standby. The exit code is 1 when a promise of
 * docs/operations/postgresql.md does not hold. Needs Linux, root, and packages of Debian:
 * `apt-get install -y postgresql patroni etcd-server haproxy iproute2`.
 *
 * `npm run stress:failover -- --rounds 2 --only split` runs two rounds of one fault: kill, freeze, switch-over, split,
 * lost-standby, or asynchronous, which must lose changes because the standby is asynchronous.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Fault, faults } from './failover/faults.ts';
import { binaries } from './failover/patroni.ts';
import { type FaultReport, runFault } from './failover/run-fault.ts';

/**
 * The longest time until creates succeed, and for which `/health/ready` may be wrong, in seconds. A server checks once a second for up to a
 * second, and more than one check fails on a busy computer.
 */
const limits = { untilCreate: 2, readyInVain: 3, readyLate: 5 };

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, only: { type: 'string', multiple: true } },
});
const rounds = Number(values.rounds);
const names = values.only ?? Object.keys(faults);
const problem = findProblem();
if (problem) {
  console.error(problem);
  process.exit(1);
}

const stack = new AsyncDisposableStack();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void stack.disposeAsync().finally(() => process.exit(1)));

const reports: Record<string, FaultReport> = {};
for (const name of names) {
  const fault = faults[name];
  if (!fault) continue;
  console.log(`== ${name}`);
  const report = await runOnce(fault);
  reports[name] = report;
  const broken = fault.isAsynchronous ? findMissingLoss(report) : findBrokenPromises(report);
  console.log(broken.length === 0 ? 'passed' : `FAILED: ${broken.join('; ')}`);
  if (broken.length > 0) process.exitCode = 1;
}
console.table(Object.fromEntries(Object.entries(reports).map(([name, report]) => [name, toRow(report)])));

/** Kills and removes everything after a fault, and after a signal in the middle of it. */
async function runOnce(fault: Fault): Promise<FaultReport> {
  const parts = stack.use(new AsyncDisposableStack());
  try {
    return await runFault(fault, rounds, parts);
  } catch (error) {
    // The handler of the signal ends the process.
    if (stack.disposed) return new Promise(() => undefined);
    throw error;
  } finally {
    await parts.disposeAsync();
  }
}

/** Returns what a run lacks. */
function findProblem(): string | undefined {
  if (!(rounds >= 1)) return '--rounds: give a whole number of at least 1';
  const unknown = names.find((name) => !(name in faults));
  if (unknown !== undefined) return `--only: give ${Object.keys(faults).join(', ')}`;
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return 'This run makes network namespaces of Linux, which needs Linux and root.';
  }
  const programs = {
    postgresql: binaries,
    patroni: '/usr/bin/patroni',
    'etcd-server': '/usr/bin/etcd',
    haproxy: '/usr/sbin/haproxy',
    iproute2: '/sbin/ip',
  };
  const missing = Object.entries(programs).filter(([, path]) => !path || !existsSync(path));
  if (missing.length === 0) return undefined;
  const packages = missing.map(([name]) => name).join(' ');
  return `Programs are missing. Install them: apt-get install -y ${packages}`;
}

function findMissingLoss({ findings }: FaultReport): string[] {
  return findings.lost > 0 ? [] : ['nothing was lost, so that this run has not shown that it sees a loss'];
}

function findBrokenPromises(report: FaultReport): string[] {
  const { creates, findings, wrongAnswers, missedEvents, subscriptionFailures, recoveries } = report;
  const broken = Object.entries(findings)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name}: ${count}`);
  if (creates.lost > 0) broken.push(`creates lost: ${creates.lost}`);
  if (creates.falselyRefused > 0) broken.push(`creates refused and stored: ${creates.falselyRefused}`);
  if (missedEvents > 0) broken.push(`events missed: ${missedEvents}`);
  for (const failure of new Set(subscriptionFailures)) broken.push(`a subscription failed: ${failure}`);
  for (const answer of new Set(wrongAnswers)) broken.push(`an answer that no failover explains: ${answer}`);
  for (const [name, limit] of Object.entries(limits) as [keyof typeof limits, number][]) {
    const seconds = longest(report, name);
    if (recoveries.length > 0 && seconds > limit) broken.push(`${name}: ${seconds.toFixed(1)} s`);
  }
  return broken;
}

function toRow(report: FaultReport): Record<string, string | number> {
  const { creates, recoveries, changes, missedEvents } = report;
  return {
    rounds: recoveries.length,
    'creates acknowledged': creates.acknowledged,
    'changes acknowledged': changes.acknowledged,
    lost: report.findings.lost,
    'refused and stored': creates.falselyRefused,
    unknown: creates.unknownStored + creates.unknownNotStored,
    'of these stored': creates.unknownStored,
    'usual create, s': range(report, 'usualCreate'),
    'outage, s': range(report, 'outage'),
    'primary to create, s': range(report, 'untilCreate'),
    'commit to create, s': range(report, 'commitToCreate'),
    'ready in vain, s': longest(report, 'readyInVain').toFixed(1),
    'ready late, s': longest(report, 'readyLate').toFixed(1),
    'events missed': missedEvents,
  };
}

function longest({ recoveries }: FaultReport, name: keyof FaultReport['recoveries'][number]): number {
  return Math.max(...recoveries.map((recovery) => recovery[name]));
}

/** The median, and the longest time. */
function range({ recoveries }: FaultReport, name: keyof FaultReport['recoveries'][number]): string {
  const sorted = recoveries.map((recovery) => recovery[name]).toSorted((one, other) => one - other);
  return `${sorted[Math.floor(sorted.length / 2)]?.toFixed(1)} (${sorted.at(-1)?.toFixed(1)})`;
}
