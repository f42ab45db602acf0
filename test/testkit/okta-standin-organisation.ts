import { readFileSync } from 'node:fs';

/** Okta's own description of its API, as far as the stand-in answers it. */
export interface OktaDescription {
  /** By path and method. */
  operations: Record<string, Record<string, DescribedOperation>>;
  /** JSON Schemas. */
  definitions: Record<string, object>;
}

interface DescribedOperation {
  status: number;
  example?: unknown;
  /** Whether it answers with a list. */
  isList?: boolean;
  /** The page size. */
  limit?: { default?: number; maximum?: number };
}

export const description: OktaDescription = JSON.parse(
  readFileSync(new URL('okta-description.json', import.meta.url), 'utf8'),
);

/** An object of Okta's. URLs in it have `{yourOktaDomain}` in place of the host. */
export type OktaObject = Record<string, unknown> & { id: string };

const id = (prefix: string, index: number) => `${prefix}${String(index).padStart(20 - prefix.length, '0')}`;
const time = (index: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, index)).toISOString();

/** Returns the example of a list's first object. */
function getExample(path: string): OktaObject {
  return Object(description.operations[path]?.GET?.example)[0];
}

function link(object: string, ...names: string[]) {
  const self = `https://{yourOktaDomain}/api/v1/${object}`;
  return Object.fromEntries([
    ['self', { href: self }],
    ...names.map((name) => [name, { href: `${self}/${name}` }]),
  ]);
}

function buildUser(index: number): OktaObject {
  const login = `user${index}@example.com`;
  const at = time(index);
  return {
    ...getExample('/api/v1/users'),
    ...{ id: id('00u', index), created: at, activated: at, statusChanged: at },
    ...{ lastLogin: null, lastUpdated: at, passwordChanged: at },
    profile: {
      ...{ firstName: 'User', lastName: `${index}`, mobilePhone: null, secondEmail: null },
      ...{ login, email: login },
    },
    _links: link(`users/${id('00u', index)}`),
  };
}

function buildGroup(index: number): OktaObject {
  const at = time(index);
  return {
    ...getExample('/api/v1/groups'),
    ...{ id: id('00g', index), created: at, lastUpdated: at, lastMembershipUpdated: at },
    profile: { name: `Group ${index}`, description: null },
    _links: link(`groups/${id('00g', index)}`, 'users', 'apps'),
  };
}

function buildApplication(index: number): OktaObject {
  const at = time(index);
  return {
    ...getExample('/api/v1/apps'),
    ...{ id: id('0oa', index), label: `Application ${index}`, created: at, lastUpdated: at },
    _links: link(`apps/${id('0oa', index)}`, 'users', 'groups'),
  };
}

function buildLogEvent(index: number): OktaObject {
  const uuid = `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;
  return { ...getExample('/api/v1/logs'), id: uuid, uuid, published: time(index) };
}

/** The objects of the organisation, which requests change. Every user is in every group and has every application. */
export class Organisation {
  readonly users: Map<string, OktaObject>;
  readonly groups: Map<string, OktaObject>;
  readonly applications: Map<string, OktaObject>;
  readonly logEvents: OktaObject[];
  /** Users that were removed from groups: `<group id> <user id>`. */
  readonly #removed = new Set<string>();
  #added: number;

  constructor(size: number) {
    const all = (build: (index: number) => OktaObject) =>
      new Map(Array.from({ length: size }, (_, index) => build(index)).map((object) => [object.id, object]));
    this.users = all(buildUser);
    this.groups = all(buildGroup);
    this.applications = all(buildApplication);
    this.logEvents = [...all(buildLogEvent).values()].map(({ id: _, ...event }) => event as OktaObject);
    this.#added = size;
  }

  /** Finds a user by id or login. */
  findUser(idOrLogin: string): OktaObject | undefined {
    const found = this.users.get(idOrLogin);
    if (found) return found;
    return [...this.users.values()].find(({ profile }) => Object(profile).login === idOrLogin);
  }

  addUser(profile: object): OktaObject {
    const user = buildUser(this.#added++);
    this.users.set(user.id, { ...user, status: 'PROVISIONED', profile });
    return this.users.get(user.id) as OktaObject;
  }

  addGroup(profile: object): OktaObject {
    const group = buildGroup(this.#added++);
    this.groups.set(group.id, { ...group, profile: { description: null, ...profile } });
    for (const userId of this.users.keys()) this.setMembership(group.id, userId, false);
    return this.groups.get(group.id) as OktaObject;
  }

  setMembership(groupId: string, userId: string, isMember: boolean): void {
    const key = `${groupId} ${userId}`;
    if (isMember) this.#removed.delete(key);
    else this.#removed.add(key);
  }

  isMember(groupId: string, userId: string): boolean {
    return !this.#removed.has(`${groupId} ${userId}`);
  }

  /** The assignments of users to an application. */
  assignedUsers(appId: string): OktaObject[] {
    const { _embedded, ...example } = getExample('/api/v1/apps/{appId}/users');
    return [...this.users.values()].map(({ id: userId, created, profile }) => ({
      ...example,
      ...{
        id: userId,
        externalId: null,
        created,
        lastUpdated: created,
        statusChanged: created,
        lastSync: created,
      },
      ...{ credentials: { userName: Object(profile).login }, profile },
      _links: {
        app: { href: `https://{yourOktaDomain}/api/v1/apps/${appId}` },
        user: { href: `https://{yourOktaDomain}/api/v1/users/${userId}` },
      },
    })) as OktaObject[];
  }

  /** The assignments of groups to an application. */
  assignedGroups(appId: string): OktaObject[] {
    const example = getExample('/api/v1/apps/{appId}/groups');
    return [...this.groups.values()].map(({ id: groupId, created }, priority) => ({
      ...example,
      ...{ id: groupId, priority, lastUpdated: created, profile: {} },
      _links: {
        ...link(`apps/${appId}/groups/${groupId}`),
        app: { href: `https://{yourOktaDomain}/api/v1/apps/${appId}` },
        group: { href: `https://{yourOktaDomain}/api/v1/groups/${groupId}` },
      },
    }));
  }
}
