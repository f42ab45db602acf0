import type { VariablesOf } from 'gql.tada';
import type { listQuery } from '../operations.ts';

type Variables = VariablesOf<typeof listQuery>;
/** The filter of the list. */
export type Filter = NonNullable<Variables['filter']>;
type Order = NonNullable<Variables['orderBy']>;

/** The filter and order of the list. */
export interface ListParams {
  filter: Filter;
  orderBy: Order;
}

/** The orders, by their labels. */
export const orders: Readonly<Record<string, Order>> = {
  'Name, A to Z': { field: 'NAME', direction: 'ASC' },
  'Name, Z to A': { field: 'NAME', direction: 'DESC' },
  'Recently updated': { field: 'UPDATED_AT', direction: 'DESC' },
  'Least recently updated': { field: 'UPDATED_AT', direction: 'ASC' },
  'Newest first': { field: 'CREATED_AT', direction: 'DESC' },
  'Oldest first': { field: 'CREATED_AT', direction: 'ASC' },
  'Failing longest': { field: 'SINCE', direction: 'ASC' },
  'Last check, oldest first': { field: 'LAST_CHECK_AT', direction: 'ASC' },
  'Last worked, oldest first': { field: 'LAST_GOOD_AT', direction: 'ASC' },
  'Next check': { field: 'NEXT_CHECK_AT', direction: 'ASC' },
  'Expiring first': { field: 'EXPIRES_AT', direction: 'ASC' },
};

/** The order without a choice. */
export const byName: Order = { field: 'NAME', direction: 'ASC' };

/** The filters by a time of the health, with their labels. They are also their names in the address. */
export const timeFilters = {
  sinceBefore: 'Failing since',
  lastCheckBefore: 'Last check',
  nextCheckBefore: 'Next check',
  lastGoodBefore: 'Last worked',
  expiresBefore: 'Expires',
} as const satisfies Partial<Record<keyof Filter, string>>;

export type TimeFilterName = keyof typeof timeFilters;

export const timeFilterNames = Object.keys(timeFilters) as TimeFilterName[];

const statuses = ['VERIFIED', 'REJECTED', 'UNREACHABLE', 'PENDING'] as const;

/** Parses a status; null for any. */
export function parseStatus(value: string | null): Filter['health'] {
  return statuses.find((status) => status === value) ?? null;
}

/** Formats what differs from the default as a query, for an address that can be shared. */
export function formatListParams({ filter, orderBy }: ListParams): string {
  const [tag] = filter.tags ?? [];
  const order = formatOrder(orderBy);
  const values = {
    search: filter.nameContains,
    app: filter.app,
    status: filter.health,
    tag: tag?.key,
    value: tag?.value,
    ...Object.fromEntries(timeFilterNames.map((name) => [name, filter[name]])),
    order: order === formatOrder(byName) ? null : order,
  };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value) query.set(name, value);
  return query.toString();
}

/** Parses a query. What it cannot contain is ignored. */
export function parseListParams(text: string): ListParams {
  const query = new URLSearchParams(text);
  const search = query.get('search')?.trim().slice(0, 64);
  const app = query.get('app');
  const key = query.get('tag');
  const timeFilter = timeFilterNames.find((name) => parseTime(query.get(name)));
  const order = query.get('order');
  return {
    filter: {
      ...(search && { nameContains: search }),
      ...(app && { app: app as NonNullable<Filter['app']> }),
      health: parseStatus(query.get('status')),
      ...(key?.trim() && { tags: [{ key, value: query.get('value') || null }] }),
      // One, because the controls show one.
      ...(timeFilter && { [timeFilter]: parseTime(query.get(timeFilter)) }),
    },
    orderBy: Object.values(orders).find((each) => formatOrder(each) === order) ?? byName,
  };
}

/** Parses a time that a field for local times can show. */
function parseTime(value: string | null): string | null {
  const time = new Date(value ?? '');
  const year = time.getUTCFullYear();
  return year >= 1999 && year < 3000 ? time.toISOString() : null;
}

function formatOrder({ field, direction }: Order): string {
  return `${field}_${direction}`;
}
