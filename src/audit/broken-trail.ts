import type { BrokenChain } from './verify-chain.ts';

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
