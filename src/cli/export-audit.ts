/**
 * Exports audit trails as JSON Lines, while it verifies their hash chains: `npm run audit:export`. Standard output has the
 * events only; a broken trail ends at its first wrong event, and then the exit code is 1.
 */
import { z } from 'zod';
import type { AuditEvent } from '../audit/audit-event.entity.ts';
import { describeBrokenTrail } from '../audit/broken-trail.ts';
import { toExportLine } from '../audit/serialize-event.ts';
import { verifyChain } from '../audit/verify-chain.ts';
import type { Stores } from '../bootstrap/stores.ts';
import { commandLine } from '../common/command-name.ts';
import { reversedSpanMessage, timestamp } from '../common/date-time.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { findBegunDeletions } from '../integrity/deletion-records.ts';
import { UsageError } from './arguments.ts';
import { defineProgram } from './program.ts';
import { withStores } from './with-stores.ts';

/** The events to export. */
interface Range {
  /** The id of the organisation; undefined for all. */
  orgId: string | undefined;
  /** At this time or later. */
  from: Date | undefined;
  /** Before this time. */
  to: Date | undefined;
}

const usage = `${commandLine('audit export', '[--organisation ID] [--from TIME] [--to TIME]')}
    Print audit events as lines of JSON, the oldest of each organisation first, and verify the hash chains. TIME is
    such as 2007-12-03T10:15:30Z; --to excludes it.`;

async function exportTrails(
  { database, vault, unlock }: Stores,
  { orgId, from, to }: Range,
  output: { print(line: string): void; report(line: string): void },
): Promise<void> {
  await unlock();
  const where = orgId === undefined ? {} : { id: orgId };
  const organisations = await database.asSystem().find(Organisation, where, { orderBy: { id: 'asc' } });
  if (orgId !== undefined && organisations.length === 0) output.report(`there is no organisation ${orgId}`);
  const deletions = await findBegunDeletions(database, vault);
  for (const { id } of organisations) {
    if (deletions.has(id)) {
      output.report(`organisation ${id}: it is being deleted, and the key of its audit trail is destroyed`);
      continue;
    }
    const onEvent = (event: AuditEvent) => {
      if ((from && event.at < from) || (to && event.at >= to)) return;
      output.print(toExportLine(event));
    };
    const result = await verifyChain(() => database.forOrganisation(id), vault, id, { onEvent });
    if ('problem' in result) output.report(describeBrokenTrail(id, result));
  }
}

/** Runs `npm run audit:export`. */
export const run = defineProgram(
  {
    usage,
    options: { organisation: { type: 'string' }, from: { type: 'string' }, to: { type: 'string' } },
    failure: 'Cannot export',
  },
  async ({ organisation, from, to }, invocation) => {
    const range = {
      orgId: parseId(organisation),
      from: parseTime('--from', from),
      to: parseTime('--to', to),
    };
    const reversed = reversedSpanMessage(range.from, range.to, { from: '--from', to: '--to' });
    if (reversed) throw new UsageError(reversed);
    const { terminal } = invocation;
    let hasProblem = false;
    const output = {
      print: (line: string) => terminal.log(line),
      report: (line: string) => {
        hasProblem = true;
        terminal.error(`Not exported: ${line}`);
      },
    };
    await withStores(invocation, (stores) => exportTrails(stores, range, output));
    return hasProblem ? 1 : 0;
  },
);

function parseId(text: string | undefined): string | undefined {
  const result = z.guid().optional().safeParse(text);
  if (result.success) return result.data;
  throw new UsageError('The option --organisation needs the id of an organisation.');
}

function parseTime(option: string, text: string | undefined): Date | undefined {
  const result = timestamp.optional().safeParse(text);
  if (result.success) return result.data;
  throw new UsageError(`The option ${option} needs a time, such as 2007-12-03T10:15:30Z.`);
}
