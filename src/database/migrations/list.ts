import { Start } from './0001-start.ts';
import { Life } from './0002-life.ts';
import { Find } from './0003-find.ts';
import { Audit } from './0004-audit.ts';
import { Access } from './0005-access.ts';
import { Rotation } from './0006-rotation.ts';
import { RateLimits } from './0007-rate-limits.ts';
import { Administrators } from './0008-administrators.ts';
import { UnloggedRates } from './0009-unlogged-rates.ts';
import { RowMacs } from './0010-row-macs.ts';
import { Fairness } from './0011-fairness.ts';
import { Refusals } from './0017-refusals.ts';
import { KeyLists } from './0018-key-lists.ts';
import { UsePolicy } from './0019-use-policy.ts';
import { KeyConnections } from './0020-key-connections.ts';
import { RateBudgets } from './0021-rate-budgets.ts';
import { Usage } from './0022-usage.ts';

/** Every migration, in the order in which they run. A migration that has been released is never edited. */
export const migrations = [
  { name: '0001-start', class: Start },
  { name: '0002-life', class: Life },
  { name: '0003-find', class: Find },
  { name: '0004-audit', class: Audit },
  { name: '0005-access', class: Access },
  { name: '0006-rotation', class: Rotation },
  { name: '0007-rate-limits', class: RateLimits },
  { name: '0008-administrators', class: Administrators },
  { name: '0009-unlogged-rates', class: UnloggedRates },
  { name: '0010-row-macs', class: RowMacs },
  { name: '0011-fairness', class: Fairness },
  { name: '0017-refusals', class: Refusals },
  { name: '0018-key-lists', class: KeyLists },
  { name: '0019-use-policy', class: UsePolicy },
  { name: '0020-key-connections', class: KeyConnections },
  { name: '0021-rate-budgets', class: RateBudgets },
  { name: '0022-usage', class: Usage },
];
