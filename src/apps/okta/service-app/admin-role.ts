import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import { parseJson } from '../../../outbound/json.ts';
import type * as diagnosis from '../diagnosis.ts';
import { readRoles } from '../parse-details.ts';
import { readErrorCode } from '../parse-response.ts';

/** What is known about the admin roles of a service app. */
export interface AdminRole {
  /** Null if it is unknown. */
  hasAdminRole: boolean | null;
  roles: { type: string; label: string | null }[] | null;
}

/** A request that only apps with an admin role are answered. */
interface Probe {
  /** One of these scopes is needed. */
  scopes: readonly string[];
  path: (clientId: string) => string;
  /** Undefined: the response does not say. */
  judge: (response: OutboundResponse) => AdminRole | undefined;
}

const reading = (area: string) => [`okta.${area}.read`, `okta.${area}.manage`];
const known = (hasAdminRole: boolean): AdminRole => ({ hasAdminRole, roles: null });

/** Okta answers 403 without a role, but an empty list of users. */
const judgeByStatus = ({ status, body }: OutboundResponse): AdminRole | undefined => {
  if (status === 200) return known(true);
  return status === 403 && readErrorCode(body) === 'E0000006' ? known(false) : undefined;
};

/** In the order of how certain the answers are. */
const probes: readonly Probe[] = [
  {
    scopes: reading('roles'),
    path: (clientId) => `/oauth2/v1/clients/${encodeURIComponent(clientId)}/roles`,
    judge: ({ status, body }) => {
      const roles = status === 200 ? readRoles(body) : null;
      return roles ? { hasAdminRole: roles.length > 0, roles } : undefined;
    },
  },
  {
    scopes: reading('users'),
    path: () => '/api/v1/users?limit=1',
    judge: (response) => {
      const users = response.status === 200 ? parseJson(response.body) : undefined;
      // Each organisation has a user: the administrator who has created it.
      return Array.isArray(users) ? known(users.length > 0) : judgeByStatus(response);
    },
  },
  { scopes: reading('groups'), path: () => '/api/v1/groups?limit=1', judge: judgeByStatus },
  { scopes: reading('apps'), path: () => '/api/v1/apps?limit=1', judge: judgeByStatus },
  { scopes: reading('logs'), path: () => '/api/v1/logs?limit=1', judge: judgeByStatus },
  { scopes: reading('orgs'), path: () => '/api/v1/org', judge: judgeByStatus },
];

/** The most requests of one search. */
const maxRequests = 2;

/**
 * Finds out whether a service app has an admin role, from the first request of which the response says so.
 *
 * @param ask sends a GET request with the access token; undefined if there is no response
 */
export async function findAdminRole(
  { clientId, scopes }: { clientId: string; scopes: readonly string[] },
  ask: (path: string) => Promise<OutboundResponse | undefined>,
): Promise<AdminRole> {
  const usable = probes.filter((probe) => probe.scopes.some((scope) => scopes.includes(scope)));
  for (const { path, judge } of usable.slice(0, maxRequests)) {
    const response = await ask(path(clientId));
    const role = response && judge(response);
    if (role) return role;
  }
  return { hasAdminRole: null, roles: null };
}

/** Okta gives access tokens to the app, and shows it nothing. */
export const noAdminRole: diagnosis.Finding = {
  status: 'REJECTED',
  code: 'INSUFFICIENT_PERMISSIONS',
  message:
    'Okta gives access tokens to the app, but the app has no admin role that lets it use its scopes: Okta answers with empty ' +
    'lists or refuses.',
  remedy:
    'In the Okta Admin Console, open the app under Applications > Applications, and assign it a role under “Admin roles”, such ' +
    'as Read-only Administrator. If it has a custom role, add the resources that it needs to the resource set of the role.',
};
