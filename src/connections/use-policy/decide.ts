import { LRUCache } from 'lru-cache';
import type { UseMethod, UseRule } from '../../apps/use.ts';
import { compilePattern, type PathPattern } from './path-pattern.ts';

/** The methods of requests through connections. */
export const useMethods = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
] as const satisfies readonly UseMethod[];

/** What a use policy says about a request. */
export interface UseDecision {
  isAllowed: boolean;
  /** The deciding rule and its position, from 0; undefined if no rule matches, which denies. */
  decidedBy: { rule: UseRule; index: number } | undefined;
}

/**
 * Decides whether a request may be sent: the first rule that matches its method and path decides, and without one it is
 * denied. A rule for GET covers HEAD. Rules that deny ignore case, because an app may; rules that allow do not.
 *
 * @param path normalised
 */
export function decideUse(rules: readonly UseRule[], method: string, path: string): UseDecision {
  const index = rules.findIndex((rule) => matchesMethod(rule, method) && getRulePattern(rule).matches(path));
  const rule = rules[index];
  return { isAllowed: rule?.effect === 'ALLOW', decidedBy: rule && { rule, index } };
}

function matchesMethod({ methods }: UseRule, method: string): boolean {
  const covering: readonly string[] | undefined = methods;
  return !covering || covering.includes(method) || (method === 'HEAD' && covering.includes('GET'));
}

/** Faster than `patterns`, but rules that are read from the database again are other objects. */
const patternsOfRules = new WeakMap<UseRule, PathPattern>();
const patterns = new LRUCache<string, PathPattern>({ max: 1_000 });

function getRulePattern(rule: UseRule): PathPattern {
  const known = patternsOfRules.get(rule);
  if (known) return known;
  const pattern = getPattern(rule);
  patternsOfRules.set(rule, pattern);
  return pattern;
}

/** @throws TypeError if the path of a rule is not a pattern; every stored rule was checked */
function getPattern({ effect, path }: UseRule): PathPattern {
  const key = `${effect} ${path}`;
  const cached = patterns.get(key);
  if (cached) return cached;
  const compiled = compilePattern(path, { ignoreCase: effect === 'DENY' });
  if ('reason' in compiled) throw new TypeError(compiled.reason);
  patterns.set(key, compiled);
  return compiled;
}
