/** Where connections are: in a project, or, with null, in none. */
export type Place = string | null;

const organisation = 'organisation';

/** The address of the connections of a place. */
export function connectionsPath(place: Place): string {
  return place === null
    ? `/${organisation}/integrations/app-connections`
    : `/projects/${place}/integrations/app-connections`;
}

/** The place that an address is about, if it is about one. */
export function placeOf(path: string): Place | undefined {
  if (path.startsWith(`/${organisation}/`)) return null;
  return /^\/projects\/([^/]+)\//.exec(path)?.[1];
}
