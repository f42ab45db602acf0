import { z } from 'zod';

const maxScopes = 200;
const where = 'The names are under “Okta API Scopes” of the app in the Admin Console.';

/** Texts that are no scope for a service app, each with its message. The first match is reported. */
const mistakes: readonly (readonly [RegExp, string])[] = [
  [/^$/, `The scope is empty. Remove it, or give a name such as okta.users.read. ${where}`],
  [/[\s,;]/, 'This text has several scopes. Give each one as a member of the list.'],
  [/["'`“”‘’[\]]/, 'The scope is in quotation marks or brackets. Give only the name.'],
  [
    /^(openid|profile|email|address|phone|offline_access|groups|device_sso)$/,
    'This scope is for people who sign in, and not for service apps. Remove it.',
  ],
  [
    /^okta(\.[A-Za-z]\w*)?$/,
    'The name of the scope is incomplete. Add what it allows, as in okta.users.read.',
  ],
];

/** The shape of the names of Okta's scopes: `okta.users.read`, `okta.apps.manage`, `ssf.read`. */
const shape = /^(okta(\.[A-Za-z][A-Za-z0-9_-]{0,63}){2,6}|ssf\.(read|manage))$/;

/** The schema of the scopes of a service app. The value is one text, sorted, with spaces between the names. */
export const scopesSchema = z
  .array(z.string({ error: 'A scope must be a string.' }), {
    error: `Give the scopes as a list, such as ["okta.users.read"]. ${where}`,
  })
  .min(1, { error: `Give at least one scope, such as okta.users.read. ${where}` })
  .max(maxScopes, { error: `Give at most ${maxScopes} scopes.`, abort: true })
  .transform((given, context) => {
    const scopes = given.map((scope) => (scope.length > 200 ? scope : scope.trim()));
    const seen = new Set<string>();
    let isValid = true;
    for (const [index, scope] of scopes.entries()) {
      const message =
        findScopeIssue(scope) ??
        (seen.has(scope) ? 'The scope is in the list twice. Remove one.' : undefined);
      seen.add(scope);
      if (message === undefined) continue;
      isValid = false;
      context.addIssue({ code: 'custom', path: [index], message });
    }
    return isValid ? scopes.sort().join(' ') : z.NEVER;
  });

function findScopeIssue(scope: string): string | undefined {
  const [, message] = mistakes.find(([pattern]) => pattern.test(scope)) ?? [];
  if (message !== undefined || shape.test(scope)) return message;
  return `This is not the name of a scope of Okta, which looks like okta.users.read. ${where}`;
}
