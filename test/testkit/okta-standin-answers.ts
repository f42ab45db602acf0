import type { IncomingHttpHeaders } from 'node:http';
import { type OktaErrorCode, oktaError, respondAsOkta } from '../../src/apps/okta/fake-okta-responses.ts';
import { applyExpression, applyQuery } from './okta-standin-filters.ts';
import { description, type OktaObject, type Organisation } from './okta-standin-organisation.ts';

/** An answer of the stand-in. */
export interface Answer {
  /** 0 closes the connection. */
  status: number;
  /** JSON, or a text that is sent as it is; undefined for none. */
  content?: unknown;
  headers?: Record<string, string | string[]>;
}

/** A request to the stand-in. */
export interface OktaRequest {
  method: string;
  url: URL;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

type Handler = (organisation: Organisation, request: OktaRequest, ...ids: string[]) => Answer;

const ok = (content: unknown): Answer =>
  content === undefined ? fail('E0000007') : { status: 200, content };

/** Returns an error as Okta does. */
export function fail(code: OktaErrorCode): Answer {
  const { status, body: content } = oktaError(code);
  return { status, content };
}

const invalid = (errorSummary: string): Answer => ({
  status: 400,
  content: {
    errorCode: 'E0000001',
    errorSummary,
    errorLink: 'E0000001',
    errorId: 'oaeStandIn',
    errorCauses: [],
  },
});

/**
 * Answers a request to a path of Okta's API description: from the organisation, or with the example of the description.
 */
export function answerAsOkta(organisation: Organisation, request: OktaRequest): Answer {
  const { method, url } = request;
  if (url.pathname === '/api/v1/users/me') {
    const { authorization } = request.headers;
    const { status, body: content } = respondAsOkta({ method, path: url.pathname, authorization });
    return { status, content };
  }
  const found = operations.find(({ pattern }) => pattern.test(url.pathname));
  if (!found) return fail('E0000007');
  const [, ...ids] = found.pattern.exec(url.pathname)?.map(decodeURIComponent) ?? [];
  const described = description.operations[found.path]?.[method];
  if (!described) return fail('E0000022');
  const handler = handlers[`${method} ${found.path}`];
  const answer = handler?.(organisation, request, ...ids) ?? {
    status: described.status,
    content: described.example,
  };
  if (answer.status >= 400 || !described.isList || !handler) return answer;
  return toPage(answer, described.limit, request, found.path === '/api/v1/logs');
}

/** The paths of the description, the more specific ones first. */
const operations = Object.keys(description.operations)
  .map((path) => ({
    path,
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '([^/]+)')}$`),
  }))
  .sort((left, right) => left.path.split('{').length - right.path.split('{').length);

const handlers: Record<string, Handler> = {
  'GET /api/v1/users': ({ users }, { url }) => select([...users.values()], url.searchParams),
  'POST /api/v1/users': (organisation, { body }) =>
    withProfile(body, (profile) => organisation.addUser(profile)),
  'GET /api/v1/users/{id}': (organisation, _, id = '') => ok(organisation.findUser(id)),
  'POST /api/v1/users/{id}': (organisation, { body }, id = '') => change(organisation.findUser(id), body),
  'DELETE /api/v1/users/{id}': ({ users }, _, id = '') => remove(users, id),
  'GET /api/v1/users/{id}/groups': (organisation, _, id = '') => {
    const user = organisation.findUser(id);
    return ok(
      user && [...organisation.groups.values()].filter((group) => organisation.isMember(group.id, user.id)),
    );
  },
  'GET /api/v1/groups': ({ groups }, { url }) => select([...groups.values()], url.searchParams),
  'POST /api/v1/groups': (organisation, { body }) =>
    withProfile(body, (profile) => organisation.addGroup(profile)),
  'GET /api/v1/groups/{groupId}': ({ groups }, _, id = '') => ok(groups.get(id)),
  'PUT /api/v1/groups/{groupId}': ({ groups }, { body }, id = '') => change(groups.get(id), body),
  'DELETE /api/v1/groups/{groupId}': ({ groups }, _, id = '') => remove(groups, id),
  'GET /api/v1/groups/{groupId}/users': (organisation, _, id = '') => {
    const members = [...organisation.users.values()].filter((user) => organisation.isMember(id, user.id));
    return ok(organisation.groups.has(id) ? members : undefined);
  },
  'PUT /api/v1/groups/{groupId}/users/{userId}': (organisation, _, ...ids) =>
    setMember(organisation, ids, true),
  'DELETE /api/v1/groups/{groupId}/users/{userId}': (organisation, _, ...ids) =>
    setMember(organisation, ids, false),
  'GET /api/v1/apps': ({ applications }, { url }) => select([...applications.values()], url.searchParams),
  'GET /api/v1/apps/{appId}': ({ applications }, _, id = '') => ok(applications.get(id)),
  'GET /api/v1/apps/{appId}/users': (organisation, _, id = '') =>
    ok(organisation.applications.has(id) ? organisation.assignedUsers(id) : undefined),
  'GET /api/v1/apps/{appId}/groups': (organisation, _, id = '') =>
    ok(organisation.applications.has(id) ? organisation.assignedGroups(id) : undefined),
  'GET /api/v1/logs': ({ logEvents }, { url: { searchParams } }) => {
    const [since = '', until = '\uffff'] = ['since', 'until'].map(
      (name) => searchParams.get(name) ?? undefined,
    );
    const between = logEvents.filter(
      ({ published }) => String(published) >= since && String(published) < until,
    );
    return select(searchParams.get('sortOrder') === 'DESCENDING' ? between.reverse() : between, searchParams);
  },
};

function select(objects: readonly OktaObject[], parameters: URLSearchParams): Answer {
  let selected: readonly OktaObject[] | undefined = objects;
  for (const name of ['search', 'filter']) {
    const expression = parameters.get(name);
    if (expression && selected) selected = applyExpression(selected, expression);
  }
  if (!selected) return invalid('Invalid search criteria.');
  const query = parameters.get('q');
  return ok(query ? applyQuery(selected, query) : selected);
}

function withProfile(body: Buffer, add: (profile: object) => OktaObject): Answer {
  const profile = readProfile(body);
  return profile ? ok(add(profile)) : invalid('Api validation failed: profile');
}

function change(object: OktaObject | undefined, body: Buffer): Answer {
  const profile = readProfile(body);
  if (!object) return fail('E0000007');
  if (!profile) return invalid('Api validation failed: profile');
  return ok(Object.assign(object, { profile: { ...Object(object.profile), ...profile } }));
}

function readProfile(body: Buffer): object | undefined {
  try {
    return JSON.parse(body.toString()).profile;
  } catch {
    return undefined;
  }
}

function remove(objects: Map<string, OktaObject>, id: string): Answer {
  return objects.delete(id) ? { status: 204 } : fail('E0000007');
}

function setMember(
  organisation: Organisation,
  [groupId = '', userId = '']: string[],
  isMember: boolean,
): Answer {
  if (!organisation.groups.has(groupId) || !organisation.users.has(userId)) return fail('E0000007');
  organisation.setMembership(groupId, userId, isMember);
  return { status: 204 };
}

/** Cuts a page out of a list, with links to itself and to the next one, which the System Log always has. */
function toPage(
  { status, content }: Answer,
  limit: { default?: number; maximum?: number } | undefined,
  { url }: OktaRequest,
  isEndless: boolean,
): Answer {
  if (!limit) return { status, content };
  const all = content as unknown[];
  const maximum = limit.maximum ?? Math.max(limit.default ?? 0, isEndless ? 1_000 : 200);
  const byDefault = limit.default !== undefined && limit.default > 0 ? limit.default : maximum;
  const size = Math.min(Number(url.searchParams.get('limit') ?? byDefault), maximum);
  const after = Number(url.searchParams.get('after') ?? 0);
  if (!(size > 0) || !(after >= 0)) return invalid('The limit or the cursor is invalid.');
  const page = all.slice(after, after + size);
  const linkTo = (cursor: number, rel: string) => {
    const query = new URLSearchParams({ ...Object.fromEntries(url.searchParams), after: String(cursor) });
    return `<${url.origin}${url.pathname}?${query}>; rel="${rel}"`;
  };
  const next = isEndless || after + size < all.length ? [linkTo(after + page.length, 'next')] : [];
  return { status, content: page, headers: { link: [linkTo(after, 'self'), ...next] } };
}
