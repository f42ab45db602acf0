/**
 * Reads every organisation's audit trail from its start, and every row that carries a MAC: `npm run audit:verify`. Exit
 * code 1, and what is wrong first in each trail, and each row that was changed or is older than its trail tells, when not
 * all is whole. With `--checkpoint FILE`,
 * a file of checkpoints or the server's log, the trails also have to contain what the file says they did.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { AuditEvent } from '../audit/audit-event.entity.ts';
import { isAuthenticCheckpoint, parseCheckpoints } from '../audit/checkpoint-file.ts';
import { verifyChain } from '../audit/hash-chain.ts';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { openStores, type Stores } from '../bootstrap/stores.ts';
import { StartupError } from '../common/errors.ts';
import { createLog } from '../common/log.ts';
import { readConfig } from '../config/read-config.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { authenticatedEntities, verifyRows } from '../integrity/authenticated-rows.ts';
import { RowHistory } from '../integrity/row-history.ts';

/** The hashes that trails had, by organisation and then by `seq`. */
type CheckpointsByOrganisation = Map<string, Map<number, string>>;

const problems = {
  added: 'was added',
  edited: 'was edited',
  removed: 'was removed',
  reordered: 'was reordered',
  head: 'was the last; the row that says so was changed or removed',
  replaced: 'was replaced by another one since its checkpoint',
  cut: 'was cut off since its checkpoint',
};

function report(line: string): void {
  console.log(line);
  process.exitCode = 1;
}

async function verify(stores: Stores, checkpointFile: string | undefined): Promise<void> {
  const { database, vault, unlock } = stores;
  await unlock();
  const seen = checkpointFile === undefined ? undefined : await readCheckpoints(stores, checkpointFile);
  const organisations = await database.asSystem().find(Organisation, {}, { orderBy: { id: 'asc' } });
  const known = new Set(organisations.map(({ id }) => id));
  const ids = new Set([...known, ...(await namedOrganisations(stores)), ...(seen?.keys() ?? [])]);
  for (const id of ids) {
    if (!known.has(id)) report(`organisation ${id}: its own row was removed`);
    const checkpoints = seen?.get(id);
    const history = new RowHistory();
    const onEvent = (event: AuditEvent) => history.add(event);
    const found = await verifyChain(() => database.forOrganisation(id), vault, id, { checkpoints, onEvent });
    if ('problem' in found) report(`organisation ${id}: event ${found.seq} ${problems[found.problem]}`);
    else console.log(`organisation ${id}: ${found.events} events, whole`);
    for await (const line of history.contradictions(database, id)) report(line);
  }
  for await (const { table, id } of verifyRows(database, vault)) {
    report(`${table} ${JSON.stringify(id)}: changed by something else than this server`);
  }
}

/** The organisations whose events, or rows that carry MACs, there are. */
async function namedOrganisations({ database }: Stores): Promise<string[]> {
  const em = database.asSystem();
  const authenticated = authenticatedEntities.map((entity) => em.getMetadata(entity).tableName);
  const tables = [em.getMetadata(AuditEvent).tableName, ...authenticated];
  const union = tables.map((table) => `select org_id from "${table}"`).join(' union ');
  const found: { org_id: string }[] = await em.execute(`${union} order by org_id`);
  return found.map(({ org_id: orgId }) => orgId);
}

async function readCheckpoints(
  { database, vault }: Stores,
  file: string,
): Promise<CheckpointsByOrganisation> {
  const macs = await vault.rowMacs(database.asSystem());
  const seen: CheckpointsByOrganisation = new Map();
  for (const checkpoint of parseCheckpoints(readText(file))) {
    const { orgId, seq, hash, at } = checkpoint;
    if (!isAuthenticCheckpoint(macs, checkpoint))
      report(`checkpoint of ${at}, organisation ${orgId}: not written by this server`);
    else seen.set(orgId, (seen.get(orgId) ?? new Map<number, string>()).set(seq, hash));
  }
  if (seen.size === 0) throw new StartupError(`--checkpoint ${file}: there is no checkpoint in it`);
  return seen;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartupError(`--checkpoint ${file}: cannot be read (${code ?? 'unknown error'})`);
  }
}

function parseCommandLine(): { checkpoint?: string | undefined } {
  try {
    return parseArgs({ options: { checkpoint: { type: 'string' } } }).values;
  } catch {
    throw new StartupError('usage: npm run audit:verify [-- --checkpoint FILE]');
  }
}

try {
  const { checkpoint } = parseCommandLine();
  const stores = await openStores(readConfig(), createLog('silent'));
  try {
    await verify(stores, checkpoint);
  } finally {
    await stores.close();
  }
} catch (error) {
  console.error(`Cannot verify: ${describeStartupError(error)}`);
  process.exitCode = 1;
}
