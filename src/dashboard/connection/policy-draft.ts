import type { VariablesOf } from 'gql.tada';
import type { Issue } from '../../common/errors.ts';
import type { Policy, Rule, updatePolicyMutation } from './operations.ts';

/** A rule in the editor; `key` identifies it while its position changes. */
export interface DraftRule extends Rule {
  key: number;
}

/** A use policy in the editor. */
export interface PolicyDraft {
  /** Null for rules of one's own. */
  preset: Policy['preset'];
  /** The rules of one's own; ignored with a preset. */
  rules: readonly DraftRule[];
}

type Input = VariablesOf<typeof updatePolicyMutation>['input'];

let lastKey = 0;

/** Gives a rule of the editor its key. */
export function toDraftRule(rule: Rule): DraftRule {
  lastKey += 1;
  return { ...rule, key: lastKey };
}

/** Starts editing a policy. */
export function toDraft({ preset, rules }: Policy): PolicyDraft {
  return { preset, rules: preset ? [] : rules.map(toDraftRule) };
}

/** The draft as the API takes it. */
export function toInput({ preset, rules }: PolicyDraft): Pick<Input, 'preset' | 'rules'> {
  return preset
    ? { preset }
    : { rules: rules.map(({ effect, methods, path }) => ({ effect, methods, path })) };
}

/** Whether the draft differs from a policy. */
export function isChanged(draft: PolicyDraft, policy: Policy): boolean {
  return JSON.stringify(toInput(draft)) !== JSON.stringify(toInput(toDraft(policy)));
}

/** The messages about each rule by its position, from issues such as `input.rules.0.path`. */
export function issuesByRule(issues: readonly Issue[]): ReadonlyMap<number, string> {
  const messages = new Map<number, string>();
  for (const { path, message } of issues) {
    const position = path[path.indexOf('rules') + 1];
    if (!path.includes('rules') || position === undefined) continue;
    messages.set(Number(position), [messages.get(Number(position)), message].filter(Boolean).join(' '));
  }
  return messages;
}
