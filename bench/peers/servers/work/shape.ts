import type { NewConnection } from './make.ts';

/** The columns that responses need. */
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

/** Builds a connection of a response. */
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

/** Builds a page of a response; an additional row means that there is a next page. */
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
