import type { ResultOf } from 'gql.tada';
import { useQuery } from 'urql';
import { parseError } from './api-error.ts';
import { type Connection, optionsQuery } from './operations.ts';

/** An app that can be connected, with the methods and fields of its forms. */
export type AppOption = ResultOf<typeof optionsQuery>['appConnectionOptions'][number];
/** A way to authenticate to an app. */
export type MethodOption = AppOption['methods'][number];
/** A field of the credentials. */
export type FieldOption = MethodOption['fields'][number];

/** Loads the apps that can be connected; undefined until they are loaded. */
export function useOptions() {
  const [{ data, error }, reload] = useQuery({ query: optionsQuery });
  return { options: data?.appConnectionOptions, apiError: error && parseError(error), reload };
}

/** The display names of the app and the method of a connection, and the icon of the app. */
export function getLabels(
  { app, method }: Pick<Connection, 'app' | 'method'>,
  options: readonly AppOption[],
) {
  const option = options.find((option) => option.app === app);
  const label = option?.methods.find((option) => option.method === method)?.label;
  return { appName: option?.name ?? app, icon: option?.icon, methodLabel: label ?? method };
}
