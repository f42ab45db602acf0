import type { NewConnection } from './make.ts';

/** What of a row is shown. */
export type ConnectionRow = Pick<
  NewConnection,
  | 'id'
  | 'name'
  | 'description'
  | 'app'
  | 'method'
  | 'orgId'
  | 'projectId'
  | 'version'
  | 'createdAt'
  | 'updatedAt'
  | 'credentialsHash'
  | 'publicCredentials'
  | 'verificationStatus'
  | 'verificationCheckedAt'
>;

/** A connection as callers see it. */
export function show(row: ConnectionRow) {
  const { publicCredentials, verificationStatus, verificationCheckedAt, app, method, ...rest } = row;
  return {
    id: rest.id,
    name: rest.name,
    description: rest.description,
    app: enumValue(app),
    method: enumValue(method),
    orgId: rest.orgId,
    projectId: rest.projectId,
    version: rest.version,
    createdAt: rest.createdAt,
    updatedAt: rest.updatedAt,
    credentialsHash: rest.credentialsHash,
    credentials: { instanceUrl: publicCredentials.instanceUrl },
    verification: { status: verificationStatus, checkedAt: verificationCheckedAt },
  };
}

/** A page as callers see it, of one row more than the page has where there are more. */
export function showPage(rows: ConnectionRow[], first: number) {
  const shown = rows.slice(0, first);
  const last = shown.at(-1);
  return {
    nodes: shown.map(show),
    pageInfo: {
      hasNextPage: rows.length > first,
      endCursor: last ? Buffer.from(JSON.stringify([last.name, last.id])).toString('base64url') : null,
    },
  };
}

function enumValue(id: string): string {
  return id.toUpperCase().replaceAll('-', '_');
}
