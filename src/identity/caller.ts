import { AppError } from '../common/errors.ts';

/** The scopes of callers. */
export const scopes = [
  'connections:read',
  'connections:write',
  'connections:verify',
  'connections:use',
  'webhooks:read',
  'webhooks:write',
  'audit:read',
  'access:admin',
] as const;

export type Scope = (typeof scopes)[number];

/**
 * The scopes with which a caller can administer an organisation. Use of connections is not part of it, and neither are webhooks,
 * because administrators of earlier versions have no scope for them.
 */
export const administratorScopes = scopes.filter(
  (scope) => scope !== 'connections:use' && !scope.startsWith('webhooks:'),
);

/** The identity and the permissions of an authenticated caller. */
export interface Identity {
  orgId: string;
  /** The id of the API key; null for an access token. */
  keyId: string | null;
  /** The `sub` claim of the access token; null for an API key. */
  subject: string | null;
  /** The id of the setup link of a connection. Absent or null for an API key or an access token. */
  setupLinkId?: string | null | undefined;
  scopes: Iterable<Scope>;
  /** The projects that the caller is limited to; null if it is not limited. */
  projectIds: Iterable<string> | null;
  /** The connections that the caller is limited to. Absent or null: not limited, as access tokens are not. */
  connectionIds?: Iterable<string> | null | undefined;
  /** The time at which the credential expires; null if it does not. */
  expiresAt: Date | null;
}

/** The authenticated caller of a request: its organisation and its permissions. */
export class Caller {
  readonly orgId: string;
  readonly keyId: string | null;
  readonly subject: string | null;
  readonly setupLinkId: string | null;
  readonly scopes: ReadonlySet<Scope>;
  readonly projectIds: ReadonlySet<string> | null;
  readonly connectionIds: ReadonlySet<string> | null;
  readonly expiresAt: Date | null;
  /** The id of the caller, unique in the organisation and stable across requests. */
  readonly id: string;
  /** As `id`, but unique across organisations. */
  readonly globalId: string;
  /** The fields of an audit event that identify the caller. */
  readonly actor: Readonly<Pick<Caller, 'orgId' | 'keyId' | 'subject'> & { setupLinkId?: string }>;

  constructor(identity: Identity) {
    this.orgId = identity.orgId;
    this.keyId = identity.keyId;
    this.subject = identity.subject;
    this.setupLinkId = identity.setupLinkId ?? null;
    this.scopes = new Set(identity.scopes);
    this.projectIds = identity.projectIds && new Set(identity.projectIds);
    this.connectionIds = identity.connectionIds ? new Set(identity.connectionIds) : null;
    this.expiresAt = identity.expiresAt;
    const { orgId, keyId, subject, setupLinkId } = this;
    const ownId = keyId === null ? `subject:${subject}` : `key:${keyId}`;
    this.id = setupLinkId === null ? ownId : `setup-link:${setupLinkId}`;
    this.globalId = `${orgId} ${this.id}`;
    this.actor = { orgId, keyId, subject, ...(setupLinkId !== null && { setupLinkId }) };
  }

  /** The filter for the connections that the caller may see. */
  get connectionFilter(): { projectId?: { $in: string[] }; id?: { $in: string[] } } {
    return {
      ...(this.projectIds && { projectId: { $in: [...this.projectIds] } }),
      ...(this.connectionIds && { id: { $in: [...this.connectionIds] } }),
    };
  }

  /** Whether the caller may see a connection. `projectId`: null if it has no project. */
  maySeeConnection({ id, projectId }: { id: string; projectId: string | null }): boolean {
    if (this.connectionIds && !this.connectionIds.has(id)) return false;
    return !this.projectIds || (projectId !== null && this.projectIds.has(projectId));
  }

  /** @throws AppError `FORBIDDEN` if the caller has none of the scopes */
  requireScope(...oneOf: [Scope, ...Scope[]]): void {
    if (oneOf.some((scope) => this.scopes.has(scope))) return;
    const names = oneOf.join(' or ');
    throw new AppError('FORBIDDEN', `This ${this.credentialKind} lacks the scope ${names}.`, {
      remedy: `Use one that has ${names}.`,
    });
  }

  /**
   * @param projectId null for an object without a project
   * @param path the path of the project in the input
   * @throws AppError `FORBIDDEN` if the caller is limited to other projects
   */
  requireProject(projectId: string | null, path: readonly string[]): void {
    if (!this.projectIds) return;
    if (projectId !== null && this.projectIds.has(projectId)) return;
    const message =
      projectId === null
        ? `This ${this.credentialKind} is limited to projects, and this is outside of all of them.`
        : `This ${this.credentialKind} is limited to other projects.`;
    throw new AppError('FORBIDDEN', message, {
      issues: [{ path, message }],
      remedy: 'Name one of the projects that `viewer` lists, or use a credential that is not limited.',
    });
  }

  /** @throws AppError `FORBIDDEN` if the caller is limited to projects or to connections */
  requireWholeOrganisation(): void {
    if (!this.projectIds && !this.connectionIds) return;
    const limit = this.projectIds ? 'projects' : 'connections';
    throw new AppError('FORBIDDEN', `This ${this.credentialKind} is limited to ${limit}.`, {
      remedy: `Use one that is not limited to ${limit}.`,
    });
  }

  /**
   * Names are unique in a project, so naming a connection would reveal the names of connections that the caller cannot see.
   *
   * @throws AppError `FORBIDDEN` if the caller is limited to connections
   */
  requireNamingConnections(): void {
    if (!this.connectionIds) return;
    const message = `This ${this.credentialKind} is limited to connections. It cannot create or rename connections.`;
    throw new AppError('FORBIDDEN', message, {
      issues: [{ path: ['name'], message }],
      remedy: 'Use a credential that is not limited to connections.',
    });
  }

  /** The kind of the credential, for messages. */
  get credentialKind(): string {
    if (this.setupLinkId !== null) return 'setup link';
    return this.keyId === null ? 'token' : 'API key';
  }
}
