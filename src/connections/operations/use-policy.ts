import type { App } from '../../apps/app.ts';
import { withForbiddenAudit, withRefusalAudit } from '../../audit/record-refusals.ts';
import { canonicalJson } from '../../common/canonical-json.ts';
import { AppError, validationError } from '../../common/errors.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { StoredUsePolicy } from '../app-connection.entity.ts';
import { type ConnectionDeps, requireApp } from '../deps.ts';
import { changeConnection } from '../persistence/change-connection.ts';
import { readConnection } from '../persistence/find-connection.ts';
import { decideUse, type UseDecision } from '../use-policy/decide.ts';
import type { UpdateUsePolicy, UsePolicyContent } from '../use-policy/input-schemas.ts';
import { normalisePath } from '../use-policy/normalise-path.ts';
import { explainDecision, getUsePolicy, type UsePolicy } from '../use-policy/use-policy.ts';

/** A connection by id. `app`: the id of an app; a connection to another app is not found. */
export interface UsePolicyTarget {
  id: string;
  app?: string;
}

/**
 * Reads the use policy of a connection.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`
 */
export async function readUsePolicy(
  deps: ConnectionDeps,
  caller: Caller,
  target: UsePolicyTarget,
): Promise<UsePolicy> {
  return (await readPolicy(deps, caller, target)).policy;
}

async function readPolicy(
  deps: ConnectionDeps,
  caller: Caller,
  target: UsePolicyTarget,
): Promise<{ app: App; policy: UsePolicy }> {
  const attempt = { action: 'READ_CONNECTIONS', connectionId: target.id } as const;
  return withForbiddenAudit(deps, caller, attempt, async () => {
    caller.requireScope('connections:read', 'connections:use');
    const conditions = [sql`id = ${target.id}`, ...(target.app ? [sql`app = ${target.app}`] : [])];
    const connection = await readConnection(deps, caller, conditions);
    const app = requireApp(deps, connection.app);
    return { app, policy: getUsePolicy(app, connection) };
  });
}

/**
 * Replaces the use policy of a connection. A policy that is the same already is not a change.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `BAD_USER_INPUT` (a preset of another app), `VERSION_CONFLICT` (of the policy)
 */
export async function updateUsePolicy(
  deps: ConnectionDeps,
  caller: Caller,
  target: UsePolicyTarget,
  { preset, rules, version }: UpdateUsePolicy,
): Promise<UsePolicy> {
  const action = 'UPDATE_USE_POLICY';
  return withRefusalAudit(deps, caller, { action, connectionId: target.id }, async () => {
    caller.requireScope('connections:write');
    const connection = await changeConnection(deps, caller, {
      target,
      action,
      apply: (connection) => {
        const app = requireApp(deps, connection.app);
        assertPreset(app, preset, ['preset']);
        const current = getUsePolicy(app, connection);
        assertPolicyVersion(current, version);
        const next = toStored({ preset, rules }, current.version + 1);
        if (isSame(current, getUsePolicy(app, { usePolicy: next }))) return [];
        connection.usePolicy = next;
        return ['usePolicy'];
      },
    });
    return getUsePolicy(requireApp(deps, connection.app), connection);
  });
}

/** The result of testing a request against a use policy. */
export interface UsePolicyTest extends UseDecision {
  /** The path as it is matched and sent. */
  path: string;
  explanation: string;
}

/**
 * Tells whether a use policy allows a request through a connection, without sending it: the policy of the connection, or
 * `draft`, one that is not stored.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `BAD_USER_INPUT` (an ambiguous path, a preset of another app)
 */
export async function testUsePolicy(
  deps: ConnectionDeps,
  caller: Caller,
  target: UsePolicyTarget,
  request: { method: string; path: string },
  draft?: UsePolicyContent | null,
): Promise<UsePolicyTest> {
  const { app, policy: current } = await readPolicy(deps, caller, target);
  if (draft) assertPreset(app, draft.preset, ['policy', 'preset']);
  const policy = draft ? getUsePolicy(app, { usePolicy: toStored(draft, current.version) }) : current;
  const path = normalisePath(request.path);
  const decision = decideUse(policy.rules, request.method, path);
  return { ...decision, path, explanation: explainDecision(policy, decision) };
}

function assertPreset(app: App, preset: string | null | undefined, path: string[]): void {
  if (!preset || app.usePresets?.some(({ id }) => id === preset)) return;
  throw validationError([{ path, message: `${app.name} has no such preset.` }]);
}

function toStored({ preset, rules }: UsePolicyContent, version: number): StoredUsePolicy {
  return {
    version,
    ...(preset && { preset }),
    ...(rules && { rules: rules.map(({ methods, ...rule }) => ({ ...rule, ...(methods && { methods }) })) }),
  };
}

function isSame(one: UsePolicy, other: UsePolicy): boolean {
  const content = ({ preset, rules }: UsePolicy) => canonicalJson({ preset, rules });
  return content(one) === content(other);
}

function assertPolicyVersion(current: UsePolicy, version: number | null | undefined): void {
  if (version == null || version === current.version) return;
  throw new AppError(
    'VERSION_CONFLICT',
    `The use policy has changed since you read it; its version is ${current.version} now.`,
    {
      currentVersion: current.version,
      remedy: 'Read the use policy again, apply your change to it, and send that version.',
    },
  );
}
