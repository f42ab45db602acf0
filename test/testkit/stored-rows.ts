import type { EntityClass, FilterQuery } from '@mikro-orm/postgresql';
import type { Authenticated } from '../../src/encryption/row-macs.ts';
import type { TestServer } from './server.ts';

/** Changes stored rows with a valid MAC, for states that otherwise only the passage of time reaches. */
export async function changeRows<Entity extends Authenticated>(
  server: Pick<TestServer, 'asOwner' | 'vault'>,
  entity: EntityClass<Entity>,
  where: FilterQuery<Entity>,
  change: (row: Entity) => Partial<Entity>,
): Promise<void> {
  const em = server.asOwner();
  const macs = await server.vault.rowMacs(em);
  const { props } = em.getMetadata(entity);
  const lazy = props.filter((prop) => prop.lazy).map(({ name }) => name);
  for (const row of await em.find(entity, where, { populate: lazy as never })) {
    macs.verify(em, entity, row);
    Object.assign(row, change(row));
  }
  await em.flush();
}
