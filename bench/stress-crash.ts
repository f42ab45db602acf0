/**
 * Checks that no acknowledged change is lost: `npm run stress:crash`. It needs an installed PostgreSQL and creates clusters of its
 * own. It kills 200 servers and PostgreSQL 50 times under load, and 50 servers with an embedded database; kills 50 servers and
 * PostgreSQL 20 times under checks and deliveries of webhooks; stops and freezes PostgreSQL for 30 s; fills a disk (as root, which
 * can mount one). The exit code is 1 when a check fails.
 *
 * `npm run stress:crash -- --times 0.1` runs a tenth of it; `--only servers` runs one part: servers, embedded, webhooks,
 * stopped, frozen, disk, or control, which must lose changes because PostgreSQL acknowledges before it writes.
 */
import { parseArgs } from 'node:util';
import type { Violations } from '../test/testkit/faults/check.ts';
import { simulateOutage } from '../test/testkit/faults/db-outage.ts';
import { crashDuringDeliveries, type DeliveryViolations } from '../test/testkit/faults/deliveries.ts';
import {
  asynchronousCommitSettings,
  type CrashReport,
  crashEmbedded,
  crashOnPostgreSQL,
} from '../test/testkit/faults/invariants.ts';
import { canMount, fillDisk } from '../test/testkit/faults/small-disk.ts';

const { values } = parseArgs({
  options: { times: { type: 'string', default: '1' }, only: { type: 'string' } },
});
const times = (count: number) => Math.ceil(count * Number(values.times));
const awayMs = 30_000;

const sum = (findings: Violations | DeliveryViolations): number =>
  Object.values(findings).reduce((total, count) => total + count, 0);
const isWhole = ({ findings, wrongAnswers }: CrashReport) => sum(findings) + wrongAnswers.length === 0;

/** Each check prints its observations and returns whether they are correct. */
const parts: Record<string, () => Promise<boolean>> = {
  servers: async () => {
    const seen = await crashOnPostgreSQL({ servers: times(200), databases: times(50) });
    return report(seen, isWhole(seen));
  },
  embedded: async () => {
    const seen = await crashEmbedded({ servers: times(50) });
    return report(seen, isWhole(seen));
  },
  webhooks: async () => {
    const seen = await crashDuringDeliveries({ servers: times(50), databases: times(20) });
    return report(seen, sum(seen.findings) === 0);
  },
  control: async () => {
    const seen = await crashOnPostgreSQL({ servers: 0, databases: times(10) }, ...asynchronousCommitSettings);
    return report(seen, seen.findings.lost > 0);
  },
  stopped: () => away('stopped'),
  frozen: () => away('frozen'),
  disk: async () => {
    if (!canMount) return report('skipped: no file system may be mounted here', true);
    const seen = await fillDisk();
    const codes = seen.change?.errors?.map(({ extensions }) => extensions.code);
    return report(
      seen,
      sum(seen.findings) === 0 && codes?.[0] === 'SERVICE_UNAVAILABLE' && !!seen.read?.data,
    );
  },
};

async function away(how: 'stopped' | 'frozen'): Promise<boolean> {
  const seen = await simulateOutage(how, awayMs * Math.min(1, Number(values.times)));
  const isRight = seen.acknowledged === 0 && seen.backAfterMs < 5_000 && sum(seen.findings) === 0;
  return report(
    seen,
    isRight && Object.keys(seen.codes).every((code) => ['SERVICE_UNAVAILABLE', 'data'].includes(code)),
  );
}

function report(seen: unknown, isRight: boolean): boolean {
  console.dir(seen, { depth: 5 });
  return isRight;
}

for (const [name, run] of Object.entries(parts)) {
  if (values.only !== undefined && values.only !== name) continue;
  console.log(`== ${name}`);
  const isRight = await run();
  console.log(isRight ? 'passed' : 'FAILED');
  if (!isRight) process.exitCode = 1;
}
