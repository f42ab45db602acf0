/** The Okta organisation `https://example.okta.com` of the fake Okta, with objects as in the examples of Okta's API description. */
export const fakeOrigin = 'https://example.okta.com';

const user = (id: string, firstName: string, lastName: string, department: string) => {
  const login = `${firstName}.${lastName}@example.com`.toLowerCase();
  return {
    id,
    status: 'ACTIVE',
    created: '2013-06-24T16:39:18.000Z',
    activated: '2013-06-24T16:39:19.000Z',
    statusChanged: '2013-06-24T16:39:19.000Z',
    lastLogin: '2013-06-24T17:39:19.000Z',
    lastUpdated: '2013-07-02T21:36:25.344Z',
    passwordChanged: '2013-07-02T21:36:25.344Z',
    type: { id: 'otyfnly5cQjJT9PnR0g4' },
    profile: { firstName, lastName, login, email: login, department, secondEmail: null, mobilePhone: null },
    credentials: { provider: { type: 'OKTA', name: 'OKTA' } },
    _links: { self: { href: `${fakeOrigin}/api/v1/users/${id}` } },
  };
};

/** The owner of every API token. */
export const administrator = user('00ub0oNGTSWTBKOLGLNR', 'Ada', 'Admin', 'IT');
const engineers = [
  user('00u1ab2cd3EF4GH5i0d7', 'Grace', 'Gopher', 'Engineering'),
  user('00u1f96ECLNVOKVMUSEA', 'Alan', 'Aardvark', 'Engineering'),
];
const users = [administrator, ...engineers];

const group = (id: string, type: string, name: string, description: string) => ({
  id,
  created: '2013-06-24T16:39:18.000Z',
  lastUpdated: '2013-06-24T16:39:18.000Z',
  lastMembershipUpdated: '2013-06-24T16:39:18.000Z',
  objectClass: ['okta:user_group'],
  type,
  profile: { name, description },
  _links: { users: { href: `${fakeOrigin}/api/v1/groups/${id}/users` } },
});
const everyone = group('00gak46y5hydV6NdM0g4', 'BUILT_IN', 'Everyone', 'All users in your organization');
const engineering = group('00g1emaKYZTWRYYRRTSK', 'OKTA_GROUP', 'Engineering', 'Those who build things');

const application = {
  id: '0oafxqCAJWWGELFTYASJ',
  name: 'oidc_client',
  label: 'Issue tracker',
  status: 'ACTIVE',
  signOnMode: 'OPENID_CONNECT',
  features: [],
  created: '2015-06-02T04:22:31.000Z',
  lastUpdated: '2015-06-02T04:22:31.000Z',
};
const assignment = ({ id, profile }: (typeof users)[number]) => ({
  id,
  externalId: null,
  created: '2015-06-02T04:23:00.000Z',
  lastUpdated: '2015-06-02T04:23:00.000Z',
  statusChanged: '2015-06-02T04:23:00.000Z',
  scope: 'GROUP',
  status: 'ACTIVE',
  syncState: 'DISABLED',
  credentials: { userName: profile.login },
});

const signIn = ({ id, profile: { login, firstName, lastName } }: (typeof users)[number], index: number) => ({
  uuid: `dc9fd3c0-598c-11ef-8478-2b7584bf8d5${index}`,
  published: `2013-06-24T17:39:1${index}.000Z`,
  version: '0',
  severity: 'INFO',
  eventType: 'user.session.start',
  displayMessage: 'User login to Okta',
  actor: { id, type: 'User', alternateId: login, displayName: `${firstName} ${lastName}`, detailEntry: null },
  outcome: { result: 'SUCCESS', reason: null },
  target: null,
  client: {
    ipAddress: '192.0.2.1',
    device: 'Computer',
    zone: 'null',
    userAgent: { browser: 'FIREFOX', os: 'Linux' },
  },
});

const settings = {
  id: '00o5rb5mt2H3d1TJd0h7',
  subdomain: 'example',
  companyName: 'Example',
  status: 'ACTIVE',
  website: 'https://www.example.com',
  created: '2013-06-24T16:39:18.000Z',
  lastUpdated: '2013-06-24T16:39:18.000Z',
  expiresAt: null,
};

/** Every token of the fake Okta is this one. */
const apiToken = {
  id: '00Tabcdefg1234567890',
  name: 'App Connections',
  userId: administrator.id,
  clientName: 'Okta API',
  created: '2026-01-05T09:30:00.000Z',
  /** The last use is always the current one. */
  get lastUpdated() {
    return new Date().toISOString();
  },
  get expiresAt() {
    return new Date(Date.now() + 30 * 24 * 60 * 60 * 1000).toISOString();
  },
  tokenWindow: 'P30D',
  network: { connection: 'ANYWHERE' },
};

const superAdministrator = {
  id: 'ra1b8anIk7rx7em7L0g4',
  label: 'Super Administrator',
  type: 'SUPER_ADMIN',
  status: 'ACTIVE',
  created: '2015-09-06T15:28:47.000Z',
  lastUpdated: '2015-09-06T15:28:47.000Z',
  assignmentType: 'USER',
};

/** The public description of the organisation. */
export const metadata = { id: settings.id, pipeline: 'idx', _links: { organization: { href: fakeOrigin } } };

/** The lists by path. */
export const lists: Readonly<Record<string, readonly object[]>> = {
  '/api/v1/api-tokens': [apiToken],
  [`/api/v1/users/${administrator.id}/roles`]: [superAdministrator],
  '/api/v1/users': users,
  ...Object.fromEntries(users.map(({ id }) => [`/api/v1/users/${id}/groups`, [everyone]])),
  ...Object.fromEntries(engineers.map(({ id }) => [`/api/v1/users/${id}/groups`, [everyone, engineering]])),
  '/api/v1/groups': [everyone, engineering],
  [`/api/v1/groups/${everyone.id}/users`]: users,
  [`/api/v1/groups/${engineering.id}/users`]: engineers,
  '/api/v1/apps': [application],
  [`/api/v1/apps/${application.id}/users`]: engineers.map(assignment),
  [`/api/v1/apps/${application.id}/groups`]: [
    { id: engineering.id, priority: 0, lastUpdated: '2015-06-02T04:23:00.000Z' },
  ],
  '/api/v1/logs': users.map(signIn),
};

/** The other resources by path. */
export const objects: Readonly<Record<string, object>> = {
  '/api/v1/users/me': administrator,
  ...Object.fromEntries(users.map((each) => [`/api/v1/users/${each.id}`, each])),
  ...Object.fromEntries(users.map((each) => [`/api/v1/users/${each.profile.login}`, each])),
  ...Object.fromEntries([everyone, engineering].map((each) => [`/api/v1/groups/${each.id}`, each])),
  [`/api/v1/apps/${application.id}`]: application,
  '/api/v1/org': settings,
};
