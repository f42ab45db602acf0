import type { App } from '../../apps/app.ts';
import type { UseRule } from '../../apps/use.ts';
import { AppError } from '../../common/errors.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { decideUse, type UseDecision } from './decide.ts';

/** The use policy of a connection. */
export interface UsePolicy {
  /** 1 at first, plus 1 with each change. */
  version: number;
  /** The preset that the rules come from; null for rules of its own. */
  preset: string | null;
  /** In the order in which they are tried. */
  rules: readonly UseRule[];
}

/** Returns the use policy of a connection to an app. An app without presets cannot be used: there are no rules. */
export function getUsePolicy(
  { usePresets }: Pick<App, 'usePresets'>,
  { usePolicy }: Pick<AppConnection, 'usePolicy'>,
): UsePolicy {
  const version = usePolicy?.version ?? 1;
  if (usePolicy?.rules) return { version, preset: null, rules: usePolicy.rules };
  const preset = usePolicy ? usePresets?.find(({ id }) => id === usePolicy.preset) : usePresets?.[0];
  return { version, preset: preset?.id ?? null, rules: preset?.rules ?? [] };
}

/**
 * Asserts that a use policy allows a request.
 *
 * @param path normalised
 * @throws AppError `USE_DENIED`, which names the deciding rule and what to change
 */
export function assertUseAllowed(policy: UsePolicy, method: string, path: string): void {
  const decision = decideUse(policy.rules, method, path);
  if (decision.isAllowed) return;
  throw new AppError('USE_DENIED', `${explainDecision(policy, decision)} Nothing was sent.`, {
    remedy:
      'Test requests with `testUsePolicy`, and have the use policy of the connection changed by a caller with connections:write.',
  });
}

/** Describes the rule that decides about a request. */
export function explainDecision({ preset }: UsePolicy, { isAllowed, decidedBy }: UseDecision): string {
  const policy = preset ? `the use policy ${preset}` : 'the use policy';
  if (!decidedBy) return `No rule of ${policy} allows this method and path.`;
  const { index, rule } = decidedBy;
  const verb = isAllowed ? 'allows' : 'denies';
  return `Rule ${index + 1} of ${policy} ${verb} ${rule.methods?.join(', ') ?? 'every method'} on ${rule.path}.`;
}
