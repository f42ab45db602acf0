import { z } from 'zod';
import type { App } from '../../apps/app.ts';
import { strictObject } from '../../common/strict-object.ts';
import { boundedText } from '../../common/text.ts';
import { useMethods } from './decide.ts';
import { compilePattern } from './path-pattern.ts';

/** The effects of rules. */
export const useEffects = ['ALLOW', 'DENY'] as const;

/** The most rules of a policy. */
const maxRules = 50;

const rule = strictObject({
  effect: z.enum(useEffects),
  methods: z
    .array(z.enum(useMethods))
    .min(1, { error: 'Name a method, or leave `methods` out for all.' })
    .max(useMethods.length, { error: 'Name each method once.' })
    .nullish(),
  path: boundedText(1_024, { tooLong: 'The path pattern is too long.' }).superRefine((path, context) => {
    const compiled = compilePattern(path);
    if ('reason' in compiled) context.addIssue({ code: 'custom', message: compiled.reason });
  }),
});

/** The validated content of a use policy: a preset or rules. */
export type UsePolicyContent = z.output<ReturnType<typeof usePolicyContentSchema>>;

/**
 * The schema of the content of a use policy.
 *
 * @param apps the apps whose presets are known
 */
export function usePolicyContentSchema(apps: readonly App[]) {
  return strictObject(contentFields(apps)).refine(isPresetOrRules, presetOrRules);
}

/** The validated input of changing a use policy. */
export type UpdateUsePolicy = z.output<ReturnType<typeof updateUsePolicySchema>>;

/** The schema of the input of changing a use policy. */
export function updateUsePolicySchema(apps: readonly App[]) {
  return strictObject({ ...contentFields(apps), version: z.int().nullish() }).refine(
    isPresetOrRules,
    presetOrRules,
  );
}

function contentFields(apps: readonly App[]) {
  const presets = new Set(apps.flatMap(({ usePresets = [] }) => usePresets.map(({ id }) => id)));
  return {
    preset: z.enum([...presets]).nullish(),
    rules: z
      .array(rule)
      .max(maxRules, { error: `A use policy has at most ${maxRules} rules.` })
      .nullish(),
  };
}

function isPresetOrRules({ preset, rules }: { preset?: unknown; rules?: unknown }): boolean {
  return (preset == null) !== (rules == null);
}

const presetOrRules = { error: 'Send either a preset or rules.', path: ['preset'] };
