import type { UseMethod, UsePreset, UseRule } from '../use.ts';

/**
 * Paths whose responses have secrets that outlive the request, each with the reason. From Okta's API descriptions
 * (2026.06.3, schemas of responses) unless stated otherwise.
 */
const secretPaths: readonly { path: string; reason: string }[] = [
  {
    path: '/api/v1/apps/:app/credentials/secrets*',
    reason: '`client_secret` of OAuth clients, in plain text.',
  },
  {
    path: '/api/v1/eventHooks*',
    reason: '`authScheme` and headers with which Okta authenticates to the receiver.',
  },
  {
    path: '/api/v1/inlineHooks*',
    reason: 'As event hooks; not in the descriptions, from the reference of inline hooks.',
  },
  {
    path: '/api/v1/logStreams*',
    reason: 'The token of Splunk; not in the descriptions, from the reference of log streams.',
  },
  {
    path: '/api/v1/idps*',
    reason: '`client_secret` of other identity providers; from the reference of identity providers.',
  },
  {
    path: '/api/v1/authenticators*',
    reason: 'Keys of Duo and other providers; from the reference of authenticators.',
  },
  {
    path: '/api/v1/users/:user/factors/:factor/qr*',
    reason: 'The shared secret of a one-time password, as an image.',
  },
];

/** Requests whose responses hand out new secrets, or that let the caller take over or destroy credentials. */
const secretWrites: readonly { path: string; methods: UseMethod[]; reason: string }[] = [
  {
    path: '/api/v1/apps',
    methods: ['POST'],
    reason: 'The response to creating an app has its `client_secret`.',
  },
  {
    path: '/api/v1/apps/:app',
    methods: ['PUT'],
    reason: 'The response has `credentials.oauthClient.client_secret`.',
  },
  {
    path: '/api/v1/apps/:app/credentials/**',
    methods: ['POST', 'PUT', 'PATCH', 'DELETE'],
    reason: 'New keys of an app make new clients.',
  },
  {
    path: '/api/v1/api-tokens/**',
    methods: ['POST', 'PUT', 'DELETE'],
    reason: 'Revokes API tokens, also the one of the connection.',
  },
  {
    path: '/api/v1/users/:user/lifecycle/*',
    methods: ['POST'],
    reason: 'Activation and reset return tokens and URLs that sign in as the user.',
  },
  {
    path: '/api/v1/users/:user/credentials/*',
    methods: ['POST'],
    reason: 'Sets passwords, or returns a URL that resets one.',
  },
  {
    path: '/api/v1/users/:user/factors/**',
    methods: ['POST', 'PUT', 'DELETE'],
    reason: 'Enrolment returns the shared secret of a factor.',
  },
];

const denySecrets = secretPaths.map(({ path }) => deny(path));
const denySecretWrites = secretWrites.map(({ path, methods }) => deny(path, methods));
const get: UseMethod[] = ['GET'];
const allMethods: UseMethod[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** The use policies that connections to Okta can have by name. */
export const oktaUsePresets: readonly [UsePreset, ...UsePreset[]] = [
  {
    id: 'READ_ONLY',
    description: 'Reading everything of the Okta API, except what has secrets.',
    rules: [...denySecrets, allow('/api/v1/**', get)],
  },
  {
    id: 'READ_WRITE',
    description:
      'Reading and changing everything of the Okta API, except what has or hands out secrets, or takes over accounts.',
    rules: [...denySecrets, ...denySecretWrites, allow('/api/v1/**', allMethods)],
  },
  {
    id: 'USERS_AND_GROUPS_READ',
    description: 'Reading users and groups.',
    rules: [...denySecrets, ...['/api/v1/users/**', '/api/v1/groups/**'].map((path) => allow(path, get))],
  },
  {
    id: 'USERS_AND_GROUPS_WRITE',
    description:
      'Reading and changing users and groups, except their administrator roles, passwords and factors, and activation.',
    rules: [
      ...denySecrets,
      ...denySecretWrites,
      ...['/api/v1/users/:user/roles/**', '/api/v1/groups/:group/roles/**'].map((path) =>
        deny(path, ['POST', 'PUT', 'PATCH', 'DELETE']),
      ),
      ...['/api/v1/users/**', '/api/v1/groups/**'].map((path) => allow(path, allMethods)),
    ],
  },
  {
    id: 'LOGS_READ',
    description: 'Reading the System Log.',
    rules: [allow('/api/v1/logs', get)],
  },
];

function allow(path: string, methods: UseMethod[]): UseRule {
  return { effect: 'ALLOW', methods, path };
}

function deny(path: string, methods?: UseMethod[]): UseRule {
  return { effect: 'DENY', ...(methods && { methods }), path };
}
