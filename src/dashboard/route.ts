/** The id of a project; null for connections without a project. */
export type OptionalProjectId = string | null;

const organisation = 'organisation';

/** The path of the list of connections. */
export function connectionsPath(projectId: OptionalProjectId): string {
  return projectId === null
    ? `/${organisation}/integrations/app-connections`
    : `/projects/${projectId}/integrations/app-connections`;
}

/** The path of the page of a connection, or of a tab of it. */
export function connectionPath(projectId: OptionalProjectId, id: string, tab?: string): string {
  return `${connectionsPath(projectId)}/${id}${tab ? `/${tab}` : ''}`;
}

/** The path of the list of webhook endpoints. They belong to the organisation; the project is the one that stays chosen. */
export function webhooksPath(projectId: OptionalProjectId): string {
  return connectionsPath(projectId).replace(/app-connections$/, 'webhooks');
}

/** The path of the page of a webhook endpoint. */
export function webhookPath(projectId: OptionalProjectId, id: string): string {
  return `${webhooksPath(projectId)}/${id}`;
}

/** Parses the project of a path; undefined if the path has none. */
export function parseProjectPath(path: string): OptionalProjectId | undefined {
  if (path.startsWith(`/${organisation}/`)) return null;
  return /^\/projects\/([^/]+)\//.exec(path)?.[1];
}

/** The path without what changes within a screen: the tab of a connection. */
export function toScreen(path: string): string {
  return path.replace(/(\/app-connections\/[^/]+)\/[^/]+$/, '$1');
}
