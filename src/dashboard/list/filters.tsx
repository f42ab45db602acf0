import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import type { VariablesOf } from 'gql.tada';
import type { listQuery } from '../operations.ts';
import type { AppOption } from '../use-options.ts';
import { TagFilterFields } from './tag-filter.tsx';

type Variables = VariablesOf<typeof listQuery>;
type Filter = NonNullable<Variables['filter']>;
type Order = NonNullable<Variables['orderBy']>;

/** The filter and order of the list. */
export interface ListParams {
  filter: Filter;
  orderBy: Order;
}

const orders: Readonly<Record<string, Order>> = {
  'Name, A to Z': { field: 'NAME', direction: 'ASC' },
  'Name, Z to A': { field: 'NAME', direction: 'DESC' },
  'Recently updated': { field: 'UPDATED_AT', direction: 'DESC' },
  'Least recently updated': { field: 'UPDATED_AT', direction: 'ASC' },
  'Newest first': { field: 'CREATED_AT', direction: 'DESC' },
  'Oldest first': { field: 'CREATED_AT', direction: 'ASC' },
  'Failing longest': { field: 'SINCE', direction: 'ASC' },
  'Next check': { field: 'NEXT_CHECK_AT', direction: 'ASC' },
  'Expiring first': { field: 'EXPIRES_AT', direction: 'ASC' },
};

const byName: Order = { field: 'NAME', direction: 'ASC' };

/** No filter, ordered by name. */
export const defaultListParams: ListParams = { filter: {}, orderBy: byName };

interface FiltersProps {
  params: ListParams;
  onChange(params: ListParams): void;
  options: readonly AppOption[];
}

/** The controls for search, filters and order. */
export function Filters({ params, onChange, options }: FiltersProps) {
  const { filter, orderBy } = params;
  const addFilter = (more: Filter) => onChange({ ...params, filter: { ...filter, ...more } });
  const search = useDebouncedCallback(
    (text: string) => addFilter({ nameContains: text.trim() || null }),
    250,
  );
  const order = Object.keys(orders).find(
    (label) => orders[label]?.field === orderBy.field && orders[label]?.direction === orderBy.direction,
  );
  return (
    <Group component="search" align="end" gap="sm" mb="md">
      <TextInput
        type="search"
        label="Search"
        placeholder="Part of a name"
        maxLength={64}
        flex="1 1 210px"
        onChange={(event) => search(event.currentTarget.value)}
      />
      <NativeSelect
        label="App"
        flex="1 1 110px"
        data={[
          { value: '', label: 'All apps' },
          ...options.map(({ app, name }) => ({ value: app, label: name })),
        ]}
        onChange={(event) =>
          addFilter({ app: options.find(({ app }) => app === event.currentTarget.value)?.app })
        }
      />
      <NativeSelect
        label="Status"
        flex="1 1 122px"
        data={[
          { value: '', label: 'All statuses' },
          { value: 'VERIFIED', label: 'Verified' },
          { value: 'REJECTED', label: 'Rejected' },
          { value: 'UNREACHABLE', label: 'Unreachable' },
          { value: 'PENDING', label: 'Pending' },
        ]}
        onChange={(event) => addFilter({ health: parseStatus(event.currentTarget.value) })}
      />
      <TagFilterFields onChange={(tags) => addFilter({ tags })} />
      <NativeSelect
        label="Sort by"
        flex="1 1 130px"
        data={Object.keys(orders)}
        value={order}
        onChange={(event) => onChange({ ...params, orderBy: orders[event.currentTarget.value] ?? byName })}
      />
    </Group>
  );
}

function parseStatus(value: string): Filter['health'] {
  const statuses = ['VERIFIED', 'REJECTED', 'UNREACHABLE', 'PENDING'] as const;
  return statuses.find((status) => status === value) ?? null;
}
