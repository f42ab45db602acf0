import { AppError } from '../common/errors.ts';

/** What a caller may do. */
export const scopes = [
  'connections:read',
  'connections:write',
  'connections:verify',
  'audit:read',
  'access:admin',
] as const;

export type Scope = (typeof scopes)[number];

/** What is known of a caller, once it is known who it is. */
export interface Identity {
  orgId: string;
  /** The API key that was given; null when it was a token. */
  keyId: string | null;
  /** Who the identity provider says it is; null when it was an API key. */
  subject: string | null;
  scopes: Iterable<Scope>;
  /** The projects that the caller is limited to; null for all of the organisation. */
  projectIds: Iterable<string> | null;
  /** From then on the credential lets nobody in; null for never. */
  expiresAt: Date | null;
}

/** Who asks: the organisation and the rights of the credential that came with the request. */
export class Caller {
  readonly orgId: string;
  readonly keyId: string | null;
  readonly subject: string | null;
  readonly scopes: ReadonlySet<Scope>;
  readonly projectIds: ReadonlySet<string> | null;
  readonly expiresAt: Date | null;

  constructor(identity: Identity) {
    this.orgId = identity.orgId;
    this.keyId = identity.keyId;
    this.subject = identity.subject;
    this.scopes = new Set(identity.scopes);
    this.projectIds = identity.projectIds && new Set(identity.projectIds);
    this.expiresAt = identity.expiresAt;
  }

  /** What tells this caller from the others of the organisation, the same in every request. */
  get id(): string {
    return this.keyId === null ? `subject:${this.subject}` : `key:${this.keyId}`;
  }

  /** How the audit trail names the caller. */
  get actor(): Pick<Caller, 'orgId' | 'keyId' | 'subject'> {
    const { orgId, keyId, subject } = this;
    return { orgId, keyId, subject };
  }

  /** The condition that everything which belongs to a project has to meet for this caller to see it. */
  get inProjects(): { projectId?: { $in: string[] } } {
    return this.projectIds ? { projectId: { $in: [...this.projectIds] } } : {};
  }

  /** @throws AppError `FORBIDDEN` when the caller has none of the scopes */
  requireScope(...oneOf: [Scope, ...Scope[]]): void {
    if (oneOf.some((scope) => this.scopes.has(scope))) return;
    const names = oneOf.join(' or ');
    throw new AppError('FORBIDDEN', `This ${this.credentialKind} lacks the scope ${names}.`, {
      remedy: `Use one that has ${names}.`,
    });
  }

  /**
   * @param projectId null for what belongs to no project
   * @param path where in the input it was named
   * @throws AppError `FORBIDDEN` when the caller is limited to other projects
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

  /** @throws AppError `FORBIDDEN` when the caller is limited to some projects */
  requireAllProjects(): void {
    if (!this.projectIds) return;
    throw new AppError('FORBIDDEN', `This ${this.credentialKind} is limited to projects.`, {
      remedy: 'Use one that is not limited to projects.',
    });
  }

  /** What the caller signed in with, in the words of messages. */
  get credentialKind(): string {
    return this.keyId === null ? 'token' : 'API key';
  }
}
