import { currentTime } from '../common/clock.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { ChangedOrganisations } from '../database/changed-organisations.ts';
import { AuditHead } from './audit-event.entity.ts';
import { AuditRetention } from './audit-retention.entity.ts';
import { type Checkpoint, CheckpointFile, signCheckpoint } from './checkpoint-file.ts';
import { CheckpointSender, type CheckpointSink } from './checkpoint-sender.ts';
import type { AuditDeps } from './hash-chain.ts';

const intervalMs = 60_000;
const batchOrganisations = 500;
const logLineCheckpoints = 50;

/** Writes the newest hash of each audit trail to destinations outside of the database, so that tampering with it is detected. */
export interface Checkpoints {
  /** Writes a checkpoint of each trail that has grown since its last one. */
  write(): Promise<void>;
  /** Writes the last checkpoints and stops. */
  close(): Promise<void>;
}

/**
 * Every minute, writes a checkpoint of each trail that has grown to the log, and to the file and the receiver if they are
 * configured. A trail that no longer contains its last checkpoint gets no new one, and an error is logged.
 *
 * @param destinations `file` is the path of a file that only this server writes to
 * @throws StartupError if the file cannot be read and written
 */
export function startCheckpoints(
  deps: AuditDeps & { log: Logger },
  { file, receiver }: { file?: string | undefined; receiver?: CheckpointSink | undefined },
): Checkpoints {
  const { database, vault, log } = deps;
  const checkpointFile = file === undefined ? undefined : new CheckpointFile(file);
  const newest = checkpointFile?.newest ?? new Map<string, Checkpoint>();
  // The receiver may have missed the last checkpoints of the file.
  const sender = receiver && new CheckpointSender(receiver, log, newest.values());
  // The first run checks all trails, because changes before the start are unknown.
  const changed = new ChangedOrganisations(database.changes);

  const writeCheckpoints = async (orgIds: readonly string[]): Promise<void> => {
    const em = database.asSystem();
    const macs = await vault.rowMacs(em);
    const heads = await em.find(AuditHead, { orgId: { $in: [...orgIds] } });
    const grown = heads.filter(
      (head) =>
        head.seq !== (newest.get(head.orgId)?.seq ?? 0) || head.hash !== (newest.get(head.orgId)?.hash ?? ''),
    );
    const continued = await findContainedCheckpoints(
      deps,
      grown.map(({ orgId }) => newest.get(orgId)).filter((last) => last !== undefined),
    );
    const at = currentTime().toISOString();
    const checkpoints: Checkpoint[] = [];
    for (const head of grown) {
      const { orgId, seq, hash } = head;
      const last = newest.get(orgId);
      if (!macs.isAuthentic(em, AuditHead, head)) continue;
      if (last && !(seq > last.seq && continued.has(orgId))) {
        log.error(
          { orgId, seq: last.seq },
          'an audit trail does not contain its last checkpoint: it was cut, set back or replaced',
        );
      } else {
        checkpoints.push(signCheckpoint(macs, { orgId, seq, hash, at }));
      }
    }
    if (checkpoints.length === 0) return;
    await checkpointFile?.append(checkpoints);
    for (const checkpoint of checkpoints) newest.set(checkpoint.orgId, checkpoint);
    sender?.add(checkpoints);
    for (let first = 0; first < checkpoints.length; first += logLineCheckpoints) {
      log.info(
        { auditCheckpoints: checkpoints.slice(first, first + logLineCheckpoints) },
        'audit checkpoints',
      );
    }
  };

  let writing = Promise.resolve();
  const write = (): Promise<void> => {
    writing = writing.then(async () => {
      const due = changed.take();
      try {
        for await (const orgIds of due === 'all' ? listOrganisationBatches(deps) : toBatches(due))
          await writeCheckpoints(orgIds);
      } catch (error) {
        changed.add('all');
        log.error({ error: safeErrorFields(error) }, 'audit checkpoints could not be written');
      }
      await sender?.send();
    });
    return writing;
  };
  const timer = setInterval(write, intervalMs).unref();
  return {
    write,
    close: async () => {
      clearInterval(timer);
      changed.stop();
      await write();
      await sender?.close();
    },
  };
}

/** Returns the organisations whose trails still contain these checkpoints, or contained them before old events were deleted. */
async function findContainedCheckpoints(
  { database, vault }: AuditDeps,
  checkpoints: readonly Checkpoint[],
): Promise<ReadonlySet<string>> {
  if (checkpoints.length === 0) return new Set();
  const found: { org_id: string }[] = await database.asSystem().execute(
    `select event.org_id from json_to_recordset(?) as given ("orgId" uuid, seq int, hash text)
      join audit_event event on event.org_id = given."orgId" and event.seq = given.seq and event.hash = given.hash`,
    [JSON.stringify(checkpoints)],
  );
  const contained = new Set(found.map(({ org_id: orgId }) => orgId));
  const missing = checkpoints.filter(({ orgId }) => !contained.has(orgId));
  if (missing.length === 0) return contained;
  const em = database.asSystem();
  const macs = await vault.rowMacs(em);
  const deletions = await em.find(AuditRetention, { orgId: { $in: missing.map(({ orgId }) => orgId) } });
  const byOrganisation = new Map(deletions.map((deleted) => [deleted.orgId, deleted]));
  for (const { orgId, seq, hash } of missing) {
    const deleted = byOrganisation.get(orgId);
    if (!deleted || !macs.isAuthentic(em, AuditRetention, deleted)) continue;
    if (seq < deleted.seq || (seq === deleted.seq && hash === deleted.hash)) contained.add(orgId);
  }
  return contained;
}

async function* listOrganisationBatches({ database }: AuditDeps): AsyncGenerator<string[]> {
  for (let after = '00000000-0000-0000-0000-000000000000', isFirst = true; ; isFirst = false) {
    const found: { org_id: string }[] = await database
      .asSystem()
      .execute(
        `select org_id from audit_head where org_id ${isFirst ? '>=' : '>'} ?::uuid order by org_id limit ?`,
        [after, batchOrganisations],
      );
    const orgIds = found.map(({ org_id: orgId }) => orgId);
    if (orgIds.length > 0) yield orgIds;
    if (orgIds.length < batchOrganisations) return;
    after = orgIds.at(-1) ?? after;
  }
}

function* toBatches(orgIds: readonly string[]): Generator<string[]> {
  for (let first = 0; first < orgIds.length; first += batchOrganisations) {
    yield orgIds.slice(first, first + batchOrganisations);
  }
}
