import type { EntityManager } from '@mikro-orm/postgresql';
import { StartupError } from '../common/errors.ts';
import type { Vault } from '../encryption/vault.ts';
import { type BrokenChain, verifyChain } from './verify-chain.ts';

const problemTexts = {
  added: 'was added',
  edited: 'was edited',
  removed: 'was removed',
  reordered: 'was reordered',
  head: 'was the last; the row with the end of the trail was changed or removed',
  replaced: 'was replaced since its checkpoint',
  cut: 'was truncated since its checkpoint',
};

/** Describes the first defect of the trail of an organisation. */
export function describeBrokenTrail(orgId: string, { seq, problem }: BrokenChain): string {
  return `organisation ${orgId}: event ${seq} ${problemTexts[problem]}`;
}

/**
 * Verifies the trail of an organisation in the transaction of `em`.
 *
 * @param remedy what to do about a defect
 * @throws StartupError that names the first defect
 */
export async function assertIntactTrail(
  em: EntityManager,
  vault: Vault,
  orgId: string,
  remedy?: string,
): Promise<void> {
  const result = await verifyChain(() => em.fork({ keepTransactionContext: true }), vault, orgId);
  if ('problem' in result)
    throw new StartupError([describeBrokenTrail(orgId, result), ...(remedy ? [remedy] : [])].join('; '));
}
