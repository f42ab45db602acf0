import type { EntityManager } from '@mikro-orm/postgresql';
import { countOrganisations, toOrganisationState } from '../../administration/list-organisations.ts';
import { type OrganisationStatus, statusColumns, toStatus } from '../../audit/trail-head.ts';
import { currentTimeMs } from '../../common/clock.ts';
import { commandLine } from '../../common/command-name.ts';
import { formatCount } from '../../common/format-count.ts';
import { createFindings, type Finding } from './finding.ts';

const { ok, warning, problem } = createFindings('organisations');

/** Servers look every hour for deletions that are due; after this time, one should have begun. */
const maxDelayMs = 2 * 3_600_000;
/** The most organisations that are named. */
const maxFindings = 100;

/** The status of an organisation that is not enabled. */
interface Disabled extends OrganisationStatus {
  id: string;
  name: string;
}

/**
 * Counts the organisations, and names those that are disabled or will be deleted.
 *
 * @param em sees the rows of all organisations
 */
export async function checkOrganisations(em: EntityManager): Promise<Finding[]> {
  const counts = await countOrganisations(em);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const disabled = await em.execute<Disabled[]>(
    `select id, name, ${statusColumns} from organisation join audit_head on org_id = id
      where disabled_at is not null order by delete_at, disabled_at, id limit ${maxFindings}`,
  );
  const named = disabled.map(({ id, name, ...status }) => ({
    ...describe({ id, name, ...toStatus(status) }),
    orgId: id,
  }));
  return [ok(`${formatCount(total, 'organisation')}, ${counts.ENABLED} enabled.`), ...named];
}

function describe({ id, name, ...status }: Disabled): Finding {
  const label = `Organisation ${id} ("${name}")`;
  const { disabledAt, deleteAt } = status;
  const state = toOrganisationState(status);
  if (state === 'DISABLED') return ok(`${label} is disabled since ${disabledAt?.toISOString()}.`);
  if (deleteAt && currentTimeMs() - deleteAt.getTime() > maxDelayMs)
    return problem(
      `${label} should have been deleted after ${deleteAt.toISOString()}.`,
      'Look for its id in the log of the servers, and start one if none is running.',
    );
  if (state === 'DELETING') return ok(`${label} is being deleted.`);
  return warning(
    `${label} is disabled, and will be deleted after ${deleteAt?.toISOString()}.`,
    `To keep it, run "${commandLine('admin', `organisation undelete ${id}`)}".`,
  );
}
