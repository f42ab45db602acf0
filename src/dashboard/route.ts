/** The id of a project; null for connections without a project. */
export type OptionalProjectId = string | null;

const organisation = 'organisation';

/** The path of the list of connections. */
export function connectionsPath(projectId: OptionalProjectId): string {
  return projectId === null
    ? `/${organisation}/integrations/app-connections`
    : `/projects/${projectId}/integrations/app-connections`;
}

/** Parses the project of a path; undefined if the path has none. */
export function parseProjectPath(path: string): OptionalProjectId | undefined {
  if (path.startsWith(`/${organisation}/`)) return null;
  return /^\/projects\/([^/]+)\//.exec(path)?.[1];
}
