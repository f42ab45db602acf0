import type { EntityManager } from '@mikro-orm/postgresql';
import { commandLine } from '../common/command-name.ts';
import { StartupError } from '../common/errors.ts';
import { suggest } from '../common/suggest.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** The most names that are compared with a wrong one. */
const maxNames = 10_000;

/**
 * Finds an organisation by its name or its id.
 *
 * @throws StartupError if there is none, with a suggestion, or if several have the name, with their ids
 */
export async function findOrganisation(em: EntityManager, nameOrId: string): Promise<Organisation> {
  const name = nameOrId.trim().normalize('NFC');
  const where = uuid.test(nameOrId) ? { id: nameOrId.toLowerCase() } : { name };
  const isReal = { id: { $ne: unattributedOrgId } };
  const found = await em.find(Organisation, { $and: [where, isReal] }, { orderBy: { createdAt: 'asc' } });
  const [organisation, another] = found;
  if (organisation && !another) return organisation;
  if (organisation) {
    const ids = found.map(({ id }) => id).join(', ');
    throw new StartupError(`${found.length} organisations have the name "${name}"; use an id: ${ids}`);
  }
  const [deletion] = await em.find(OrganisationDeletion, where, {
    orderBy: { requestedAt: 'desc' },
    limit: 1,
  });
  if (deletion?.completedAt)
    throw new StartupError(`the organisation was deleted at ${deletion.completedAt.toISOString()}`);
  const others = await em.find(Organisation, isReal, { fields: ['name'], limit: maxNames });
  const hint = suggest(name, new Set(others.map((each) => each.name)));
  throw new StartupError(
    `there is no organisation "${name}".${hint} Run "${commandLine('admin', 'organisations')}" to list them`,
  );
}
