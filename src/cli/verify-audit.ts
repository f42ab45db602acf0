/**
 * Verifies the hash chain of every audit trail and the MAC of every row: `npm run audit:verify`. It reports the first
 * broken event of each trail, and each row that was changed or is older than its trail says; then the exit code is 1. With
 * `--checkpoint FILE`, a file of checkpoints or the log of the server, the trails must also contain the events of the file.
 */

import { readFileSync } from 'node:fs';
import { AuditEvent } from '../audit/audit-event.entity.ts';
import { describeBrokenTrail } from '../audit/broken-trail.ts';
import { isAuthenticCheckpoint, parseCheckpoints } from '../audit/checkpoint-file.ts';
import { type IntactChain, verifyChain } from '../audit/verify-chain.ts';
import type { Stores } from '../bootstrap/stores.ts';
import { commandLine } from '../common/command-name.ts';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { formatCount } from '../common/format-count.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { authenticatedEntities, verifyRows } from '../integrity/authenticated-rows.ts';
import {
  describeDeletion,
  findBegunDeletions,
  findContradictions,
  findDeletedId,
} from '../integrity/deletion-records.ts';
import { RowHistory } from '../integrity/row-history.ts';
import { defineProgram } from './program.ts';
import { withStores } from './with-stores.ts';

/** The hashes of the checkpoints, by organisation and `seq`. */
type CheckpointsByOrganisation = Map<string, Map<number, string>>;

function describeIntactTrail({ events, deleted }: IntactChain): string {
  const intact = `${formatCount(events, 'event')}, intact`;
  if (!deleted) return intact;
  return `${intact}; events 1 to ${deleted.seq}, until ${deleted.lastAt.toISOString()}, were older than AUDIT_RETENTION_DAYS and deleted`;
}

/** Where the results go. */
interface Output {
  /** Prints that a trail is intact. */
  print(line: string): void;
  /** Prints a problem. */
  report(line: string): void;
}

async function verify(
  stores: Stores,
  checkpointFile: string | undefined,
  { print, report }: Output,
): Promise<void> {
  const { database, vault, unlock } = stores;
  await unlock();
  const expected =
    checkpointFile === undefined ? undefined : await readCheckpoints(stores, checkpointFile, report);
  const organisations = await database.asSystem().find(Organisation, {}, { orderBy: { id: 'asc' } });
  const existing = new Set(organisations.map(({ id }) => id));
  const named = new Set(await namedOrganisations(stores));
  const deletions = await findBegunDeletions(database, vault);
  const deletedIds = new Set<string>();
  const ids = new Set([...existing, ...named, ...(expected?.keys() ?? []), ...deletions.keys()]);
  for (const id of ids) {
    const deletion = deletions.get(id);
    if (deletion) {
      for (const line of findContradictions(deletion, expected?.get(id), named.has(id))) report(line);
      print(describeDeletion(deletion));
      continue;
    }
    if (!existing.has(id)) report(`organisation ${id}: its own row was removed`);
    const checkpoints = expected?.get(id);
    const history = new RowHistory();
    const onEvent = (event: AuditEvent) => {
      history.add(event);
      const deletedId = id === unattributedOrgId ? findDeletedId(event) : undefined;
      if (deletedId !== undefined) deletedIds.add(deletedId);
    };
    const result = await verifyChain(() => database.forOrganisation(id), vault, id, { checkpoints, onEvent });
    if ('problem' in result) report(describeBrokenTrail(id, result));
    else print(`organisation ${id}: ${describeIntactTrail(result)}`);
    for await (const line of history.contradictions(database, id)) report(line);
  }
  for (const id of deletedIds)
    if (!deletions.has(id)) report(`organisation ${id}: the record of its deletion was removed or changed`);
  for await (const { table, id } of verifyRows(database, vault)) {
    report(`${table} ${JSON.stringify(id)}: changed by something other than this server`);
  }
}

/** The ids of organisations in events and in rows with MACs, except those of deletions, which belong to none. */
async function namedOrganisations({ database }: Stores): Promise<string[]> {
  const em = database.asSystem();
  const authenticated = authenticatedEntities
    .map((entity) => em.getMetadata(entity))
    .filter(({ properties }) => 'orgId' in properties)
    .map(({ tableName }) => tableName);
  const tables = [em.getMetadata(AuditEvent).tableName, ...authenticated];
  const union = tables.map((table) => `select org_id from "${table}"`).join(' union ');
  const rows: { org_id: string }[] = await em.execute(`${union} order by org_id`);
  return rows.map(({ org_id: orgId }) => orgId);
}

/** Reads a file of any size, or a pipe. */
function readCheckpointFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = errorField(error, 'code');
    throw new StartupError(`--checkpoint ${file}: cannot be read (${code ?? 'unknown error'})`);
  }
}

async function readCheckpoints(
  { database, vault }: Stores,
  file: string,
  report: Output['report'],
): Promise<CheckpointsByOrganisation> {
  const macs = await vault.rowMacs(database.asSystem());
  const checkpoints: CheckpointsByOrganisation = new Map();
  for (const checkpoint of parseCheckpoints(readCheckpointFile(file))) {
    const { orgId, seq, hash, at } = checkpoint;
    if (!isAuthenticCheckpoint(macs, checkpoint))
      report(`checkpoint of ${at}, organisation ${orgId}: not written by this server`);
    else checkpoints.set(orgId, (checkpoints.get(orgId) ?? new Map<number, string>()).set(seq, hash));
  }
  if (checkpoints.size === 0) throw new StartupError(`--checkpoint ${file}: contains no checkpoint`);
  return checkpoints;
}

const usage = `${commandLine('audit verify', '[--checkpoint FILE] [--json]')}
    Verify the hash chain of every audit trail and the MAC of every row.`;

/** Runs `npm run audit:verify`. */
export const run = defineProgram(
  {
    usage,
    options: { checkpoint: { type: 'string' }, json: { type: 'boolean' } },
    failure: 'Cannot verify',
  },
  async ({ checkpoint, json }, invocation) => {
    const { terminal } = invocation;
    const intact: string[] = [];
    const problems: string[] = [];
    const addTo = (list: string[]) => (line: string) => {
      list.push(line);
      if (!json) terminal.log(line);
    };
    const output: Output = { print: addTo(intact), report: addTo(problems) };
    await withStores(invocation, (stores) => verify(stores, checkpoint, output));
    if (json) terminal.log(JSON.stringify({ intact, problems }));
    return problems.length > 0 ? 1 : 0;
  },
);
